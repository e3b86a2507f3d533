"""What the NVIDIA driver says, through pynvml (the module of nvidia-ml-py). No GPU is a normal case."""

from governor.policy.facts import Reading
from governor.settings import MIB


def read() -> list[Reading]:
    """Total and free memory of the first card, and its utilisation; unknown with the reason otherwise."""
    try:
        import pynvml
    except ImportError:
        return _unknown("the package nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
        try:
            card = pynvml.nvmlDeviceGetHandleByIndex(0)
            memory = pynvml.nvmlDeviceGetMemoryInfo(card)
            busy = pynvml.nvmlDeviceGetUtilizationRates(card).gpu
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        return _unknown(f"no NVIDIA GPU can be read ({error})")
    return [
        Reading(name="vram_total_mib", value=int(memory.total) / MIB, unit="MiB"),
        Reading(name="vram_free_mib", value=int(memory.free) / MIB, unit="MiB"),
        Reading(name="gpu_busy_percent", value=float(busy), unit="%"),
    ]


def total_mib() -> float | None:
    """Memory of the first card, None when there is none."""
    return next((r.value for r in read() if r.name == "vram_total_mib"), None)


def _unknown(why: str) -> list[Reading]:
    names = (("vram_total_mib", "MiB"), ("vram_free_mib", "MiB"), ("gpu_busy_percent", "%"))
    return [Reading(name=name, value=None, unit=unit, why=why) for name, unit in names]
