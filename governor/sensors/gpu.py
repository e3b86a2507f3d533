"""What the NVIDIA driver says, through pynvml (the module of nvidia-ml-py). No GPU is a normal case.

Each figure is read on its own: a card that hides its utilisation still says how much memory is free.
Nothing here raises.
"""

from collections.abc import Callable, Iterable
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


class Card:
    """One card, kept open: its memory takes 6 us to read then, and 0.5 ms by process (measured)."""

    def __init__(self, index: int = 0, nvml: Any = None) -> None:
        self._card: Any = None
        try:
            if nvml is None:
                import pynvml as nvml
            self._nvml = nvml
            nvml.nvmlInit()
            self._card = nvml.nvmlDeviceGetHandleByIndex(index)
            self.uuid = str(nvml.nvmlDeviceGetUUID(self._card))
        except Exception:  # no package, no driver, no card: NVMLError exists only where the package does
            self._card, self.uuid = None, ""

    def memory_mib(self) -> tuple[float, float] | None:
        """Free and total memory; None when there is no card, or it does not say."""
        if self._card is None:
            return None
        memory, _ = _try(self._nvml, lambda: self._nvml.nvmlDeviceGetMemoryInfo(self._card))
        return (int(memory.free) / MIB, int(memory.total) / MIB) if memory else None

    def by_process(self) -> dict[int, float] | None:
        """MiB of every process on the card by pid; None where the driver does not say (Windows, some containers)."""
        if self._card is None:
            return None
        found: dict[int, float] = {}
        for ask in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
            rows, why = _try(self._nvml, lambda ask=ask: getattr(self._nvml, ask)(self._card))
            if why or any(row.usedGpuMemory is None for row in rows):
                return None
            for row in rows:  # a process that computes and draws stands in both lists with the same figure
                found[row.pid] = max(found.get(row.pid, 0.0), int(row.usedGpuMemory) / MIB)
        return found

    def held_mib(self, pids: Iterable[int]) -> float | None:
        """What these processes hold together, 0.0 when none of them is on the card; None where it is not said."""
        everybody = self.by_process()
        return None if everybody is None else sum(everybody.get(pid, 0.0) for pid in set(pids))


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
