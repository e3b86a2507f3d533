"""FAKE: the module pynvml of cards of 6 GiB, all alike, 4 of them in use; its calls fail as a test wants."""

from types import SimpleNamespace
from typing import Any

GIB = 1024**3
NOT_SUPPORTED, LOST, UNINITIALIZED, UNKNOWN = 3, 15, 1, 999


class FakeNvml:
    """What the sensor asks of pynvml.

    Attributes:
        broken: the code that each call by that name raises. absent: calls that this package does not have.
        dead: numbers of cards that cannot be opened.
        lost: every call about the card fails; a new start of the library finds it again once `back` is set.
        open: how many users the library has. starts: how often it was really started.
    """

    class NVMLError(Exception):
        def __init__(self, value: int) -> None:
            super().__init__({NOT_SUPPORTED: "Not Supported", LOST: "GPU is lost"}.get(value, f"error {value}"))
            self.value = value

    def __init__(self, *broken: str, cards: int = 1, absent: tuple[str, ...] = ()) -> None:
        self.broken, self.absent = dict.fromkeys(broken, NOT_SUPPORTED), absent
        self.open = self.starts = 0
        self.lost = self.back = False
        self.dead: set[int] = set()
        self.computing: list[tuple[int, int | None]] = [(11, 2 * GIB), (12, GIB)]
        self.answers: dict[str, Any] = {
            "nvmlDeviceGetCount": cards,
            "nvmlDeviceGetUUID": "GPU-fake",
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=6 * GIB, free=2 * GIB),
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=37),
            "nvmlDeviceGetTemperatureV": 61,
            "nvmlDeviceGetTemperature": 62,
            "nvmlDeviceGetCurrentClocksEventReasons": 0x1,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x4,
            "nvmlDeviceGetPowerUsage": 45_500,
            "nvmlDeviceGetTotalEnergyConsumption": 1_234_000,
        }

    def __getattr__(self, name: str) -> Any:
        if name in self.absent:
            raise AttributeError(name)

        def call(*about: Any) -> Any:
            if name in self.broken:
                raise self.NVMLError(self.broken[name])
            library = {"nvmlInit": self._start, "nvmlShutdown": self._stop}
            return library[name]() if name in library else self._about_the_card(name, *about)

        return call

    def _start(self) -> None:
        self.open += 1
        if self.open == 1:
            self.starts += 1
            self.lost = self.lost and not self.back

    def _stop(self) -> None:
        if not self.open:
            raise self.NVMLError(UNINITIALIZED)
        self.open -= 1

    def _about_the_card(self, name: str, card: Any = 0, *_: Any) -> Any:
        if not self.open:
            raise self.NVMLError(UNINITIALIZED)
        if self.lost and name != "nvmlDeviceGetCount":
            raise self.NVMLError(LOST)
        if name == "nvmlDeviceGetComputeRunningProcesses":
            return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.computing]
        if name == "nvmlDeviceGetGraphicsRunningProcesses":
            return [SimpleNamespace(pid=12, usedGpuMemory=GIB)]  # a process that computes and draws
        if name == "nvmlDeviceGetHandleByIndex":
            if card in self.dead:
                raise self.NVMLError(UNKNOWN)
            return card  # its number is its handle
        if name == "nvmlDeviceGetUUID" and card:
            return f"{self.answers[name]}-{card}"
        return self.answers[name]
