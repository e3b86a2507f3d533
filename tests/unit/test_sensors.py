"""Sensors never raise, and what they cannot read is unknown with the reason, never zero (invariant 24)."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from governor.policy.facts import Reading
from governor.sensors import cgroup, gpu, host

GIB = 1024**3


class FakeNvml:
    """The five calls of pynvml that the sensor makes; a name in `broken` raises."""

    class NVMLError(Exception):
        pass

    def __init__(self, *broken: str, cards: int = 1) -> None:
        self.broken, self.cards, self.open = broken, cards, 0

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlDeviceGetCount": self.cards,
            "nvmlDeviceGetHandleByIndex": "card",
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=6 * GIB, free=2 * GIB),
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=37),
            "nvmlInit": None,
            "nvmlShutdown": None,
        }

        def call(*_: Any) -> Any:
            if name in self.broken:
                raise self.NVMLError("Not Supported")
            self.open += {"nvmlInit": 1, "nvmlShutdown": -1}.get(name, 0)
            return answers[name]

        return call


def values(readings: list[Reading]) -> dict[str, float | None]:
    assert all(r.why for r in readings if r.value is None), "what is unknown says why"
    return {r.name: r.value for r in readings}


def test_a_card_says_its_memory_and_its_utilisation():
    nvml = FakeNvml()
    assert values(gpu.read(nvml)) == {"vram_total_mib": 6144, "vram_free_mib": 2048, "gpu_busy_percent": 37}
    assert nvml.open == 0, "the library is closed again"


@pytest.mark.parametrize(
    "nvml",
    [FakeNvml("nvmlInit"), FakeNvml("nvmlDeviceGetCount"), FakeNvml(cards=0), FakeNvml("nvmlDeviceGetHandleByIndex")],
    ids=["no driver", "no answer", "no card", "no access"],
)
def test_a_machine_without_a_usable_card_is_unknown(nvml: FakeNvml):
    assert set(values(gpu.read(nvml)).values()) == {None}
    assert nvml.open == 0


def test_a_card_that_hides_its_utilisation_still_says_its_memory():
    assert values(gpu.read(FakeNvml("nvmlDeviceGetUtilizationRates"))) == {
        "vram_total_mib": 6144,
        "vram_free_mib": 2048,
        "gpu_busy_percent": None,
    }


def test_a_card_that_shares_the_hosts_memory_says_none_of_its_own():
    seen = values(gpu.read(FakeNvml("nvmlDeviceGetMemoryInfo")))
    assert seen == {"vram_total_mib": None, "vram_free_mib": None, "gpu_busy_percent": 37}


def test_a_library_that_does_not_close_spoils_no_reading():
    assert values(gpu.read(FakeNvml("nvmlShutdown")))["vram_free_mib"] == 2048


def test_this_machine_can_be_read():
    readings = [*gpu.read(), *host.read()]
    assert values(readings)["host_available_mib"]
    assert host.cores() >= 1
    assert host.total_mib()


def memory(total: float, available: float) -> Any:
    return lambda: SimpleNamespace(total=total * GIB, available=available * GIB)


def swap(total: float, percent: float = 0.0) -> Any:
    return lambda: SimpleNamespace(total=total * GIB, percent=percent)


def test_the_host_says_what_is_available():
    seen = values(host.read(memory=memory(16, 4), swap=swap(2, 50), limits=cgroup.Limits))
    assert seen == {"host_available_mib": 4096, "host_available_percent": 25, "swap_used_percent": 50}


def test_no_swap_is_not_swap_that_is_empty():
    assert values(host.read(memory=memory(16, 4), swap=swap(0), limits=cgroup.Limits))["swap_used_percent"] is None


@pytest.mark.parametrize("error", [OSError("hidden"), KeyError("MemAvailable"), psutil.AccessDenied(), ValueError()])
def test_a_host_that_cannot_be_read_is_unknown(error: Exception):
    def broken() -> Any:
        raise error

    assert set(values(host.read(memory=broken, swap=broken, limits=cgroup.Limits)).values()) == {None}
    assert host.total_mib(memory=broken, limits=cgroup.Limits) is None


def test_in_a_container_its_limit_counts_and_not_the_machines_memory():
    def limits() -> cgroup.Limits:
        return cgroup.Limits(memory_mib=1024, available_mib=256, cores=1.5)

    seen = values(host.read(memory=memory(64, 60), swap=swap(0), limits=limits))
    assert seen["host_available_mib"] == 256
    assert seen["host_available_percent"] == 25
    assert host.total_mib(memory=memory(64, 60), limits=limits) == 1024
    assert host.cores(limits=limits) == 1


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text + "\n")


def test_the_tightest_limit_on_the_way_to_the_root_counts(tmp_path: Path):
    group(tmp_path / "a/b", memory_max="max", cpu_max="50000 100000")
    group(
        tmp_path / "a",
        memory_max=str(2 * GIB),
        memory_current=str(GIB),
        memory_stat=f"anon 5\ninactive_file {GIB // 2}",
        cpu_max="max 100000",
    )
    own = tmp_path / "own"
    own.write_text("0::/a/b\n")
    assert cgroup.read(root=tmp_path, own=own) == cgroup.Limits(memory_mib=2048, available_mib=1536, cores=0.5)


@pytest.mark.parametrize("own", ["0::/gone\n", "0::/../outside\n", "1:memory:/v1\n", "", None])
def test_no_limit_that_can_be_read_is_no_limit(tmp_path: Path, own: str | None):
    file = tmp_path / "own"
    if own is not None:
        file.write_text(own)
    group(tmp_path, memory_max="max", cpu_max="nonsense")
    assert cgroup.read(root=tmp_path, own=file) == cgroup.Limits()
