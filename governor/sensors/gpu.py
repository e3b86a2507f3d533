"""What the NVIDIA driver says, through pynvml (the module of nvidia-ml-py). No GPU is a normal case.

Each figure is read on its own: a card that hides its utilisation still says how much memory is free.
Nothing here raises.
"""

from collections.abc import Callable
from typing import Any

from governor.policy.facts import Reading
from governor.settings import MIB

UNITS = {"vram_total_mib": "MiB", "vram_free_mib": "MiB", "gpu_busy_percent": "%"}


def read(nvml: Any = None) -> list[Reading]:
    """Total and free memory of the first card, and its utilisation; what cannot be read says why.

    Args:
        nvml: a stand-in for the module pynvml, for tests.
    """
    if nvml is None:
        try:
            import pynvml as nvml  # its only user: nobody else pays for loading the driver's library
        except ImportError:
            return _unknown("the package nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return _unknown(f"no NVIDIA driver ({error})")
    try:
        if not nvml.nvmlDeviceGetCount():
            return _unknown("the NVIDIA driver sees no card")
        return _card(nvml, nvml.nvmlDeviceGetHandleByIndex(0))
    except nvml.NVMLError as error:
        return _unknown(f"the NVIDIA driver does not answer ({error})")
    finally:
        _shut_down(nvml)


def total_mib() -> float | None:
    """Memory of the first card, None when there is none or it does not say."""
    return next((r.value for r in read() if r.name == "vram_total_mib"), None)


def card_uuid(index: int = 0, nvml: Any = None) -> str | None:
    """The driver's name for a card, the same in every process and after every boot; None when there is none."""
    try:
        if nvml is None:
            import pynvml as nvml
        nvml.nvmlInit()
    except Exception:  # no package, no driver: NVMLError exists only where the package does
        return None
    try:
        return str(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index)))
    except nvml.NVMLError:
        return None
    finally:
        _shut_down(nvml)


def _card(nvml: Any, card: Any) -> list[Reading]:
    # A card that shares the host's memory answers "not supported" to its memory, a MIG slice to its utilisation.
    memory, why_no_memory = _try(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(card))
    busy, why_not_busy = _try(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(card))
    return [
        _reading("vram_total_mib", int(memory.total) / MIB if memory else None, why_no_memory),
        _reading("vram_free_mib", int(memory.free) / MIB if memory else None, why_no_memory),
        _reading("gpu_busy_percent", float(busy.gpu) if busy else None, why_not_busy),
    ]


def _try(nvml: Any, ask: Callable[[], Any]) -> tuple[Any, str]:
    try:
        return ask(), ""
    except nvml.NVMLError as error:
        return None, f"the card does not say ({error})"


def _shut_down(nvml: Any) -> None:
    try:
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return  # the readings are taken; the driver counts users and forgets this one with the process


def _reading(name: str, value: float | None, why: str) -> Reading:
    return Reading(name=name, value=value, unit=UNITS[name], why=why)


def _unknown(why: str) -> list[Reading]:
    return [_reading(name, None, why) for name in UNITS]
