"""Sensors never raise, and what they cannot read is unknown with the reason, never zero (invariant 24)."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from governor.sensors import cgroup, gpu, host, residents
from governor.sensors.host import Host
from governor.sensors.kernel_log import KernelLog
from governor.settings import Home
from tests.unit.readings import values

GIB = 1024**3


def test_this_machine_can_be_read(hotdesk_home: Home):
    now = datetime.now(UTC)
    readings = [*gpu.read(), *Host().read(time.monotonic()), KernelLog().read(now), *residents.read(now)]
    seen = values(readings)
    assert seen["host_available_mib"]
    assert seen["disk_free_mib"]
    assert seen["models_mib"] == 0
    assert host.cores() >= 1
    assert host.total_mib()


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
        memory_stat=f"anon 5\nfile {GIB}\ninactive_file {GIB // 2}",
        cpu_max="max 100000",
    )
    own = tmp_path / "own"
    own.write_text("0::/a/b\n")
    assert cgroup.read(root=tmp_path, own=own) == cgroup.Limits(memory_mib=2048, available_mib=1536, cores=0.5)
    assert cgroup.own_group(root=tmp_path, own=own) == tmp_path / "a/b"


@pytest.mark.parametrize(
    ("stat", "available_mib"),
    [
        ("anon 1\nfile 5\nunevictable 7\nslab_unreclaimable 9", 64),
        (f"inactive_file {GIB}", 1024 + 64),
        (f"active_file {GIB}", 1024 + 64),  # weights that are mapped, files that were read twice
        (f"slab_reclaimable {GIB // 2}\nslab {GIB}", 512 + 64),
        (f"inactive_file {GIB // 4}\nactive_file {GIB}\nslab_reclaimable {GIB // 4}", 1536 + 64),
        (f"active_file {9 * GIB}", 2048),  # told of another moment than what is in use
        ("active_file much", 64),
        (None, 64),
    ],
)
def test_what_files_take_of_a_container_is_available_as_on_the_machine(
    tmp_path: Path, stat: str | None, available_mib: float
):
    full = {"memory_max": str(2 * GIB), "memory_current": str(2 * GIB - GIB // 16)}
    group(tmp_path, **full, **({} if stat is None else {"memory_stat": stat}))
    assert cgroup.read(root=tmp_path, own=tmp_path / "own").available_mib == available_mib


@pytest.mark.parametrize("own", ["0::/gone\n", "0::/../outside\n", "1:memory:/v1\n", "", None])
def test_no_limit_that_can_be_read_is_no_limit(tmp_path: Path, own: str | None):
    file = tmp_path / "own"
    if own is not None:
        file.write_text(own)
    group(tmp_path, memory_max="max", cpu_max="nonsense")
    assert cgroup.read(root=tmp_path, own=file) == cgroup.Limits()
