"""What the NVIDIA driver says, through pynvml (the module of nvidia-ml-py). No GPU is a normal case.

Each figure is read on its own: a card that hides its utilisation still says how much memory is free.
Nothing here raises. Which processes are our engines' is the caller's to say.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from governor.policy.facts import Reading
from governor.processes import is_running
from governor.settings import MIB

CHEAP = {
    "vram_total_mib": "MiB",
    "vram_free_mib": "MiB",
    "vram_unattributed_mib": "MiB",
    "vram_others_mib": "MiB",
    "gpu_temperature_c": "C",
    "gpu_slowed": "",
    "gpu_power_w": "W",
}
# 3.4 ms and 4.3 ms (measured); the memory takes 6 us, the processes 0.5 ms.
COSTLY = {"gpu_busy_percent": "%", "gpu_energy_j": "J"}
# Clock-event reasons of nvml.h that a person should know of; an idle card and one at its power cap are well.
SLOWED = {0x08: "hardware slowdown", 0x20: "too hot, says the driver", 0x40: "too hot", 0x80: "power brake"}
# Names of the same call, newest first: of newer packages, and of older drivers.
CLOCKS = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
TEMPERATURE = ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature")
ON_THE_CHIP = 0  # NVML_TEMPERATURE_GPU
# nvml.h: uninitialized, driver not loaded, card lost, reset required, another driver version, card not found,
# unknown. After them a handle is of no use any more; of all others the next call may know nothing.
LOST = frozenset({1, 9, 15, 16, 18, 28, 999})
# Under WSL2 and in containers without the host's pids: what is ours is somewhere in the memory in use.
NAMES_NONE = "the driver names none of our processes, which are alive"
# More than ever open the library in one process.
MOST_USERS = 8


def read(nvml: Any = None, *, costly: bool = True, engine_pids: Iterable[int] = ()) -> list[Reading]:
    """The first card, opened for one look; whoever looks again keeps a `Card` and calls its `readings`.

    Args:
        nvml: a stand-in for the module pynvml, for tests.
        costly: as for `Card.readings`. engine_pids: likewise.
    """
    card = Card(nvml=nvml)
    try:
        return card.readings(costly=costly, engine_pids=engine_pids)
    finally:
        card.close()


def open_cards(nvml: Any = None) -> tuple["Card", ...]:
    """Every card that can be opened and that our engines may use, each kept open; else one that says why there is none.

    CUDA_VISIBLE_DEVICES counts as for the engines: what it hides is not there. One that cannot be opened at all is left
    out, so that it does not make the others unknown.
    """
    first = Card(nvml=nvml)
    found = (first, *(Card(index, nvml) for index in range(1, first.count)))
    seen = visible([card.uuid for card in found], os.environ.get("CUDA_VISIBLE_DEVICES"))
    usable = [card for card in found if card.is_open]
    kept = tuple(card for index, card in enumerate(found) if card.is_open and index in seen)
    answer = kept or tuple(usable[:1]) or (first,)
    for card in found:
        if card not in answer:
            card.close()
    if usable and not kept:
        answer[0].close("CUDA_VISIBLE_DEVICES hides every card")
    return answer


def visible(uuids: Sequence[str], said: str | None) -> list[int]:
    """Which cards CUDA_VISIBLE_DEVICES leaves, by their place in `uuids`; None: it is not set, and leaves all.

    As CUDA reads it: numbers, or beginnings of uuids that fit one card; what stands behind an entry that names none,
    or one twice, does not count. Numbers are the driver's (CUDA_DEVICE_ORDER=PCI_BUS_ID), which CUDA itself may count
    otherwise where cards differ. A slice (MIG) does not say whose it is: then no card is left out.
    """
    if said is None or said.strip().startswith("MIG-"):
        return [*range(len(uuids))]
    left: list[int] = []
    for entry in map(str.strip, said.split(",")):
        named = [int(entry)] if entry.isascii() and entry.isdecimal() else []
        if entry.startswith("GPU-"):
            named = [index for index, uuid in enumerate(uuids) if uuid.startswith(entry)]
        if len(named) != 1 or named[0] >= len(uuids) or named[0] in left:
            break
        left += named
    return left


def total_mib_by_card(nvml: Any = None) -> dict[str, float]:
    """Memory of each card that says so, by the driver's name for it, in the driver's order; empty without a GPU.

    The name is the same in every process and after every boot.
    """
    cards = open_cards(nvml)
    try:
        found = {card.uuid or str(index): card.memory_mib() for index, card in enumerate(cards)}
        return {name: memory[1] for name, memory in found.items() if memory is not None}
    finally:
        for card in cards:
            card.close()


class Card:
    """One card, kept open. A driver that lost it and found it again is opened anew by the next `readings`.

    Args:
        index: the driver's number of it. nvml: as for `read`.
        running: says of a pid whether its process is alive.
    """

    def __init__(self, index: int = 0, nvml: Any = None, running: Callable[[int], bool] = is_running) -> None:
        self._index, self._nvml, self._errors = index, nvml, (AttributeError, OSError, ValueError)
        self._running = running
        self._card: Any = None
        self._why, self._lost, self._looked = "", False, False
        self.uuid, self.count = "", 0
        self._open()

    @property
    def is_open(self) -> bool:
        """Whether the driver has it: it may still keep single figures to itself."""
        return self._card is not None and not self._lost

    def close(self, why: str = "the card was closed") -> None:
        """Let go of the library; nothing is read through this object any more."""
        if self._card is not None:
            self._card, self._why = None, why
            self._shut_down()

    def readings(self, *, costly: bool = True, engine_pids: Iterable[int] = ()) -> list[Reading]:
        """Memory, heat, power and slowdown of the card; what cannot be read says why.

        Args:
            costly: also utilisation and energy, which take milliseconds; else they are left out.
            engine_pids: processes of our engines; `vram_others_mib` is what everybody else holds.
        """
        if self._lost or (self._card is None and self._looked):
            self._reopen()
        self._looked = True
        seen = [*self._memory(set(engine_pids)), self._temperature(), self._slowed(), self._thousandth("gpu_power_w")]
        return [*seen, self._busy(), self._thousandth("gpu_energy_j")] if costly else seen

    def memory_readings(self, engine_pids: Iterable[int]) -> list[Reading]:
        """The figures of its memory alone, in half a millisecond."""
        return self._memory(set(engine_pids))

    def memory_mib(self) -> tuple[float, float] | None:
        """Free and total memory; None when there is no card, or it does not say."""
        memory, _ = self._ask("nvmlDeviceGetMemoryInfo")
        return (int(memory.free) / MIB, int(memory.total) / MIB) if memory else None

    def by_process(self) -> dict[int, float] | None:
        """MiB of every process on the card by pid; None where the driver does not say (Windows, some containers)."""
        return self._processes()[0]

    def held_mib(self, pids: Iterable[int]) -> float | None:
        """What these processes hold together, 0.0 when none of them is on the card; None where it is not said."""
        everybody = self.by_process()
        return None if everybody is None else sum(everybody.get(pid, 0.0) for pid in set(pids))

    def energy_joules(self) -> float | None:
        """What the card used since its driver was loaded, in 4.3 ms; None when it does not say."""
        return self._thousandth("gpu_energy_j").value

    def _memory(self, engine_pids: set[int]) -> list[Reading]:
        # A card that shares the host's memory answers "not supported" to its memory, a MIG slice to its utilisation.
        memory, why = self._ask("nvmlDeviceGetMemoryInfo")
        if memory is None:
            return [_reading(name, None, why) for name in CHEAP if name.startswith("vram_")]
        free, total = int(memory.free) / MIB, int(memory.total) / MIB
        used, (held, why_not_held) = total - free, self._processes()
        unattributed = None if held is None else max(0.0, used - sum(held.values()))
        ours, why_not_ours = (0.0, "") if not engine_pids else self._ours(engine_pids, held, why_not_held)
        return [
            _reading("vram_total_mib", total),
            _reading("vram_free_mib", free),
            _reading("vram_unattributed_mib", unattributed, why_not_held),
            _reading("vram_others_mib", None if ours is None else max(0.0, used - ours), why_not_ours),
        ]

    def _ours(self, pids: set[int], held: dict[int, float] | None, why_not_held: str) -> tuple[float | None, str]:
        """What these processes hold together. One that ended holds nothing; one that is alive must be named."""
        if held is None:
            return None, why_not_held
        if pids.isdisjoint(held) and any(map(self._running, pids)):
            return None, NAMES_NONE
        return sum(held.get(pid, 0.0) for pid in pids), ""

    def _processes(self) -> tuple[dict[int, float] | None, str]:
        found: dict[int, float] = {}
        for ask in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
            rows, why = self._ask(ask)
            if rows is None:
                return None, why
            if any(row.usedGpuMemory is None for row in rows):
                return None, "the driver does not say what single processes hold"
            for row in rows:  # a process that computes and draws stands in both lists with the same figure
                found[row.pid] = max(found.get(row.pid, 0.0), int(row.usedGpuMemory) / MIB)
        return found, ""

    def _temperature(self) -> Reading:
        celsius, why = self._ask(*TEMPERATURE, argument=ON_THE_CHIP)
        return _reading("gpu_temperature_c", None if celsius is None else float(celsius), why)

    def _slowed(self) -> Reading:
        reasons, why = self._ask(*CLOCKS)
        if reasons is None:
            return _reading("gpu_slowed", None, why)
        words = [word for bit, word in SLOWED.items() if int(reasons) & bit]
        return _reading("gpu_slowed", float(bool(words)), about=", ".join(words))

    def _busy(self) -> Reading:
        rates, why = self._ask("nvmlDeviceGetUtilizationRates")
        return _reading("gpu_busy_percent", float(rates.gpu) if rates else None, why)

    def _thousandth(self, name: str) -> Reading:
        """Power and energy, which the driver tells in thousandths (energy since it was loaded)."""
        asks = {"gpu_power_w": "nvmlDeviceGetPowerUsage", "gpu_energy_j": "nvmlDeviceGetTotalEnergyConsumption"}
        told, why = self._ask(asks[name])
        return _reading(name, None if told is None else int(told) / 1000, why)

    def _ask(self, *names: str, argument: int | None = None) -> tuple[Any, str]:
        """The answer to the first of these calls that has one, and '' or why there is none."""
        why = self._why
        for name in names if self._card is not None else ():
            try:
                if self._lost:  # opened anew by another object of this process, maybe
                    self._card = self._nvml.nvmlDeviceGetHandleByIndex(self._index)
                more: Sequence[int] = () if argument is None else (argument,)
                told = getattr(self._nvml, name)(self._card, *more)
            except self._errors as error:
                self._lost = self._lost or getattr(error, "value", None) in LOST
                why = f"the driver lost the card ({error})" if self._lost else f"the card does not say ({error})"
            else:
                self._lost = False
                return told, ""
        return None, why

    def _open(self) -> None:
        """A handle of the card, or the reason why there is none."""
        self._card, self._lost = None, False
        try:
            if self._nvml is None:
                import pynvml  # its only user: nobody else pays for loading the driver's library

                self._nvml = pynvml
            self._errors = (*self._errors, self._nvml.NVMLError)
            self._nvml.nvmlInit()
        except ImportError:
            self._why = "the package nvidia-ml-py is not installed"
            return
        except self._errors as error:
            self._why = f"no NVIDIA driver ({error})"
            return
        try:
            self.count = int(self._nvml.nvmlDeviceGetCount())
            self._why = "" if self.count else "the NVIDIA driver sees no card"
            if not self._why:
                self._card = self._nvml.nvmlDeviceGetHandleByIndex(self._index)
        except self._errors as error:
            self._why = f"the NVIDIA driver does not answer ({error})"
        if self._card is None:
            self._shut_down()
        else:
            self.uuid = str(self._ask("nvmlDeviceGetUUID")[0] or "")

    def _reopen(self) -> None:
        """As a new process would. The library counts its users, and looks anew only when the last one has let go."""
        held, self._card = self._card, None
        for _ in range(MOST_USERS if held is not None else 0):
            if not self._shut_down():
                break
        self._open()

    def _shut_down(self) -> bool:
        try:
            self._nvml.nvmlShutdown()
        except self._errors:
            return False  # it was closed already, or does not close: it forgets this process when it ends
        return True


def _reading(name: str, value: float | None, why: str = "", about: str = "") -> Reading:
    unit = (CHEAP | COSTLY)[name]
    return Reading(name=name, value=value, unit=unit, why="" if value is not None else why, about=about)
