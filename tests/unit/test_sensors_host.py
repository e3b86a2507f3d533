"""What this host has, what it swaps, how it stalls and what it runs on; unknown is never zero (invariant 24)."""

from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from governor.policy.facts import Reading
from governor.sensors import cgroup, host
from governor.sensors.host import Host
from governor.sensors.kernel_counters import Rates, stalls
from tests.unit.readings import values

GIB = 1024**3
RATES = ("swap_in_mib_per_s", "swap_out_mib_per_s", "swap_mib_per_s", "major_faults_per_s")
PAGE = 4096
Battery = namedtuple("Battery", "percent power_plugged")


def memory(total: float, available: float) -> Any:
    return lambda: SimpleNamespace(total=total * GIB, available=available * GIB)


def swap(total: float, percent: float = 0.0) -> Any:
    return lambda: SimpleNamespace(total=total * GIB, percent=percent)


def failing(error: Exception) -> Callable[[], Any]:
    def ask() -> Any:
        raise error

    return ask


def test_the_host_says_what_is_available():
    seen = values(host.read(memory=memory(16, 4), swap=swap(2, 50), limits=cgroup.Limits))
    assert seen == {"host_available_mib": 4096, "host_available_percent": 25, "swap_used_percent": 50}


def test_no_swap_is_not_swap_that_is_empty():
    assert values(host.read(memory=memory(16, 4), swap=swap(0), limits=cgroup.Limits))["swap_used_percent"] is None


@pytest.mark.parametrize("error", [OSError("hidden"), KeyError("MemAvailable"), psutil.AccessDenied(), ValueError()])
def test_a_host_that_cannot_be_read_is_unknown(error: Exception):
    broken = failing(error)
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


class Vmstat:
    """A file that stands for /proc/vmstat, and the rates read from it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "vmstat"
        self.rates = Rates(self.file, PAGE)

    def says(self, **counts: int) -> None:
        lines = ["nr_free_pages 12", "odd line of three", *(f"{name} {count}" for name, count in counts.items())]
        self.file.write_text("\n".join(lines) + "\n")

    def look(self, at_s: float, **counts: int) -> dict[str, Reading]:
        if counts:
            self.says(**counts)
        readings = self.rates.read(at_s)
        assert tuple(values(readings)) == RATES
        return {r.name: r for r in readings}


@pytest.fixture
def vmstat(tmp_path: Path) -> Vmstat:
    return Vmstat(tmp_path)


def test_rates_need_two_looks_and_are_those_between_them(vmstat: Vmstat):
    first = vmstat.look(100.0, pswpin=1000, pswpout=500, pgmajfault=70)
    assert {r.why for r in first.values()} == {"needs two looks"}
    second = vmstat.look(110.0, pswpin=1000 + 2560, pswpout=500 + 5120, pgmajfault=100)
    assert [second[name].value for name in RATES] == [1.0, 2.0, 3.0, 3.0]
    third = vmstat.look(111.0, pswpin=1000 + 2560, pswpout=500 + 5120, pgmajfault=102)
    assert [third[name].value for name in RATES] == [0.0, 0.0, 0.0, 2.0]


def test_looks_ten_a_second_tell_the_rates_of_whole_seconds(vmstat: Vmstat):
    looks = [i / 10 for i in range(41)]
    pages = {at_s: 2560 * round(10 * min(max(at_s - 1.2, 0.0), 0.5)) for at_s in looks}  # 100 MiB/s for half a second
    seen = [vmstat.look(100 + at_s, pswpin=0, pswpout=pages[at_s], pgmajfault=0)["swap_mib_per_s"] for at_s in looks]
    assert {r.why for r in seen[:10]} == {"needs two looks"}
    assert [r.value for r in seen[10:]] == [0.0] * 10 + [pytest.approx(50.0)] * 10 + [0.0] * 11


def test_a_look_that_comes_too_soon_asks_for_no_counters(vmstat: Vmstat):
    vmstat.look(100.0, pswpin=0, pswpout=0, pgmajfault=0)
    before = vmstat.look(101.0, pswpin=256, pswpout=0, pgmajfault=0)
    vmstat.file.unlink()
    assert vmstat.look(101.9) == before
    assert "FileNotFoundError" in vmstat.look(102.0)["swap_mib_per_s"].why


def test_a_clock_that_went_backwards_tells_no_rate(vmstat: Vmstat):
    vmstat.look(100.0, pswpin=1, pswpout=1, pgmajfault=1)
    seen = vmstat.look(99.0, pswpin=9, pswpout=9, pgmajfault=9)
    assert {r.why for r in seen.values()} == {"no time went by between two looks"}


def test_a_counter_that_went_backwards_spoils_its_own_rate_and_only_once(vmstat: Vmstat):
    vmstat.look(100.0, pswpin=256, pswpout=256, pgmajfault=5)
    seen = vmstat.look(101.0, pswpin=0, pswpout=512, pgmajfault=6)
    assert (seen["swap_in_mib_per_s"].value, seen["swap_out_mib_per_s"].value) == (None, 1.0)
    assert seen["swap_in_mib_per_s"].why == seen["swap_mib_per_s"].why == "pswpin went backwards"
    assert vmstat.look(102.0, pswpin=256, pswpout=512, pgmajfault=6)["swap_mib_per_s"].value == 1.0


def test_what_the_kernel_does_not_count_is_unknown_and_the_rest_is_not(vmstat: Vmstat):
    vmstat.look(100.0, pgmajfault=5)
    seen = vmstat.look(101.0, pgmajfault=9)
    assert seen["major_faults_per_s"].value == 4.0
    assert seen["swap_mib_per_s"].why == "the kernel does not count pswpin"


def test_counters_that_cannot_be_read_once_cost_one_look(vmstat: Vmstat):
    assert "FileNotFoundError" in vmstat.look(99.0)["swap_mib_per_s"].why
    vmstat.look(100.0, pswpin=0, pswpout=0, pgmajfault=0)
    vmstat.file.write_text("pswpin a lot\npswpin many\n")
    assert "ValueError" in vmstat.look(101.0)["major_faults_per_s"].why
    assert vmstat.look(102.0, pswpin=256, pswpout=256, pgmajfault=0)["swap_mib_per_s"].value == 1.0


SOME_FULL = "some avg10={} avg60=0.00 avg300=0.00 total=1\nfull avg10={} avg60=0.00 avg300=0.00 total=1\n"


@pytest.mark.parametrize(
    ("machine", "own", "some", "full", "why"),
    [
        (SOME_FULL.format(1.5, 0.5), None, 1.5, 0.5, ""),
        (SOME_FULL.format(1.5, 0.5), SOME_FULL.format(40.0, 0.1), 40.0, 0.5, ""),
        (None, SOME_FULL.format(40.0, 9.0), 40.0, 9.0, ""),
        (SOME_FULL.format(1.5, 0.5), "nonsense", 1.5, 0.5, ""),
        ("some avg10=3.00 avg60=0.00 avg300=0.00 total=1\n", None, 3.0, None, "the kernel does not say `full`"),
        (None, None, None, None, "a kernel without PSI"),
        ("some avg10=much avg60=0.00\n", None, None, None, "PSI cannot be read"),
    ],
)
def test_stalls_are_the_worse_of_the_machines_and_our_groups(
    tmp_path: Path, machine: str | None, own: str | None, some: float | None, full: float | None, why: str
):
    file, group = tmp_path / "pressure", tmp_path / "group"
    group.mkdir()
    for path, text in ((file, machine), (group / "memory.pressure", own)):
        if text is not None:
            path.write_text(text)
    readings = stalls(file=file, group=lambda: group)
    assert list(values(readings).items()) == [("psi_memory_some_percent", some), ("psi_memory_full_percent", full)]
    assert all(why in r.why for r in readings if r.value is None)


@pytest.mark.parametrize(
    ("battery", "percent", "on_mains", "why"),
    [
        (lambda: Battery(83.5, True), 83.5, 1.0, ""),
        (lambda: Battery(20, False), 20.0, 0.0, ""),
        (lambda: Battery(20, None), 20.0, None, "the battery does not say"),
        (lambda: None, None, None, "no battery"),
        (failing(OSError("hidden")), None, None, "the battery cannot be read (OSError: hidden)"),
        (failing(AttributeError("sensors_battery")), None, None, "the battery cannot be read"),
    ],
    ids=["mains", "battery", "silent", "none", "hidden", "another system"],
)
def test_what_it_runs_on(
    tmp_path: Path, battery: Callable[[], Any], percent: float | None, on_mains: float | None, why: str
):
    readings = {r.name: r for r in looked_at(tmp_path, battery=battery)}
    assert (readings["battery_percent"].value, readings["on_mains"].value) == (percent, on_mains)
    assert why in readings["on_mains"].why


def test_a_state_folder_that_is_not_there_has_no_known_space(tmp_path: Path):
    readings = {r.name: r for r in looked_at(tmp_path, folder=lambda: tmp_path / "gone")}
    assert "FileNotFoundError" in readings["disk_free_mib"].why
    assert values(looked_at(tmp_path))["disk_free_mib"]


def test_a_look_has_every_figure_of_the_host_once(tmp_path: Path):
    names = [r.name for r in looked_at(tmp_path)]
    assert names == [
        *("host_available_mib", "host_available_percent", "swap_used_percent", *RATES),
        *("psi_memory_some_percent", "psi_memory_full_percent", "battery_percent", "on_mains", "disk_free_mib"),
    ]


def looked_at(here: Path, **parts: Any) -> list[Reading]:
    parts = {"rates": Rates(here / "vmstat", PAGE), "folder": lambda: here, **parts}
    readings = Host(**parts).read(1.0)
    assert values(readings)
    return readings
