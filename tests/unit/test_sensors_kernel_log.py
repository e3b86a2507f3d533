"""Signs in the kernel's log: which lines count, for how long, and what is unknown (invariant 24)."""

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from governor.policy.facts import Reading
from governor.sensors.kernel_log import MOST_RECORDS, KernelLog

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
UP_S = 10_000.0
XID = "NVRM: Xid (PCI:0000:01:00): 31, pid=1234, Ch 00000010"


class FakeLog:
    """FAKE of reading /dev/kmsg: one record, or one error, at each call, and then no more. Time stands still."""

    def __init__(self, file: Path, most_records: int = MOST_RECORDS) -> None:
        file.touch()
        self.path, self.up_s, self.reads = file, UP_S, 0
        self.coming: list[bytes | OSError] = []
        self._number = 0
        self.log = self.with_clock(lambda: self.up_s, most_records)

    def with_clock(self, clock_s: Callable[[], float], most_records: int = MOST_RECORDS) -> KernelLog:
        parts = {"receive": self._receive, "most_records": most_records, "device": None}
        return KernelLog(self.path, clock_s=clock_s, **parts)

    def says(self, text: str, *, seconds_ago: float = 1.0, level: int = 4, number: int | None = None) -> None:
        self._number = self._number + 1 if number is None else number
        microseconds = int((self.up_s - seconds_ago) * 1e6)
        self.coming.append(f"{level},{self._number},{microseconds},-;{text}\n SUBSYSTEM=pci\n".encode())

    def fails(self, number: int) -> None:
        self.coming.append(OSError(number, os.strerror(number)))

    def look(self, now: datetime = NOW) -> Reading:
        return self.log.read(now)

    def _receive(self, _file: int, most: int) -> bytes:
        assert most >= 8192, "the kernel refuses a record that does not fit"
        self.reads += 1
        if not self.coming:
            raise BlockingIOError(errno.EAGAIN, "no more")
        said = self.coming.pop(0)
        if isinstance(said, OSError):
            raise said
        return said


@pytest.fixture
def log(tmp_path: Path) -> FakeLog:
    return FakeLog(tmp_path / "kmsg")


def test_a_log_without_signs_is_a_known_zero(log: FakeLog):
    log.says("EXT4-fs (vda): mounted filesystem")
    seen = log.look()
    assert (seen.value, seen.about, seen.why) == (0, "", "")


@pytest.mark.parametrize(
    ("text", "level", "counts"),
    [
        (XID, 4, True),
        ("[drm:nv_drm] *ERROR* [nvidia-drm] Failed to allocate NVKMS memory for GEM object", 3, True),
        ("NVRM: nvCheckOkFailedNoLog: Check failed: Out of memory [NV_ERR_NO_MEMORY] (0x00000051)", 4, True),
        ("NVRM: nvAssertFailedNoLog: Assertion failed: 0 @ gpu.c:12", 4, True),
        ("NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580.65.06", 5, False),
        ("Out of memory: Killed process 77 (python)", 3, False),
        (XID, 8 + 4, False),  # a program's line about it (facility user)
        (XID, 3 * 8 + 6, False),  # a daemon's
    ],
)
def test_the_kernels_own_words_count_and_nobody_elses(log: FakeLog, text: str, level: int, counts: bool):
    log.says(text, level=level)
    seen = log.look()
    assert (seen.value, seen.about) == ((1, text) if counts else (0, ""))


def test_a_sign_in_what_a_record_says_of_its_device_is_none(log: FakeLog):
    log.coming.append(b"4,9,9999000000,-;usb 1-1: new device\n PRODUCT=NVRM: Xid\n")
    assert log.look().value == 0


def test_signs_count_for_five_minutes_and_the_last_one_is_told(log: FakeLog):
    log.says(XID + " first", seconds_ago=290.0)
    log.says(XID + " second", seconds_ago=100.0)
    assert (log.look().value, log.look().about) == (2, XID + " second")
    assert log.look().at == NOW - timedelta(seconds=100)
    later = NOW + timedelta(seconds=11)
    assert log.look(later).value == 1
    assert log.look(NOW + timedelta(seconds=201)).value == 0


def test_a_backlog_of_an_hour_ago_says_nothing_of_now(log: FakeLog):
    log.says(XID, seconds_ago=3600.0)
    log.says(XID, seconds_ago=301.0)
    assert log.look().value == 0


def test_a_long_line_is_cut(log: FakeLog):
    log.says(XID + "x" * 500)
    assert len(log.look().about) == 120


def test_records_that_were_overwritten_are_skipped(log: FakeLog):
    log.fails(errno.EPIPE)
    log.says(XID)
    log.fails(errno.EPIPE)
    log.says("something else")
    assert log.look().value == 1


@pytest.mark.parametrize("record", [b"", b"\xff\xfe", b"no head", b"4,x,y,-;NVRM: Xid\n", b";NVRM: Xid", b"NVRM: Xid"])
def test_a_record_of_another_shape_is_no_sign(log: FakeLog, record: bytes):
    log.coming.append(record)
    assert log.look().value == 0


def test_one_look_reads_a_bounded_number_of_records_and_the_next_goes_on(tmp_path: Path):
    log = FakeLog(tmp_path / "kmsg", most_records=10)
    for _ in range(14):
        log.says("nothing of interest")
    log.says(XID)
    seen = log.look()
    assert (seen.value, seen.why, log.reads) == (None, "the kernel wrote more than one look reads", 10)
    assert log.look().value == 1


def test_a_sign_among_too_many_records_is_told_at_once(tmp_path: Path):
    log = FakeLog(tmp_path / "kmsg", most_records=3)
    log.says(XID)
    for _ in range(5):
        log.says("nothing of interest")
    assert log.look().value == 1


def test_a_log_that_fails_is_opened_again_and_counts_nothing_twice(log: FakeLog):
    log.says(XID, number=7)
    assert log.look().value == 1
    log.fails(errno.EIO)
    assert "cannot be read" in log.look().why
    log.path.unlink()
    assert "has no" in log.look().why
    log.path.touch()
    log.says(XID, number=7)  # opened anew it begins with the oldest record
    log.says(XID, number=8)
    assert log.look().value == 2


@pytest.mark.parametrize(
    ("path", "why"),
    [("gone", "this system has no"), (".", "cannot be read")],
)
def test_a_log_that_is_not_there_is_unknown(tmp_path: Path, path: str, why: str):
    seen = KernelLog(tmp_path / path, device=None).read(NOW)
    assert seen.value is None
    assert why in seen.why


@pytest.mark.parametrize("stand_in", ["/dev/null", "/dev/zero", "file", "pipe"])
def test_what_stands_in_for_the_log_in_a_container_is_unknown_and_not_calm(tmp_path: Path, stand_in: str):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    log = KernelLog(tmp_path / stand_in)
    before = open_files()
    for _ in range(2):
        seen = log.read(NOW)
        assert seen.value is None
        assert "not the kernel's log" in seen.why
    assert open_files() <= before


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_without_permission_it_says_what_grants_it(tmp_path: Path):
    def refuse(_file: int, _most: int) -> bytes:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    file = tmp_path / "kmsg"
    file.touch()
    seen = KernelLog(file, receive=refuse, device=None).read(NOW)
    assert seen.value is None
    assert "kernel.dmesg_restrict=0" in seen.why
    assert "CAP_SYSLOG" in seen.why


def test_a_real_file_that_has_nothing_yet_does_not_keep_a_look_waiting(tmp_path: Path):
    pipe = tmp_path / "kmsg"
    os.mkfifo(pipe)
    log = KernelLog(pipe, clock_s=lambda: UP_S, device=None)
    assert log.read(NOW).value == 0  # nobody has it open for writing
    writer = os.open(pipe, os.O_WRONLY)
    try:
        assert log.read(NOW).value == 0  # open, and nothing to read
        os.write(writer, f"4,1,{int(UP_S * 1e6)},-;{XID}\n".encode())
        assert log.read(NOW).about == XID
    finally:
        os.close(writer)
        log.close()


@pytest.mark.parametrize("clock_s", [lambda: 0.0, lambda: UP_S + 1e6], ids=["before its stamp", "long after"])
def test_a_stamp_of_another_clock_neither_stays_for_good_nor_raises(tmp_path: Path, clock_s: Callable[[], float]):
    log = FakeLog(tmp_path / "kmsg")
    log.says(XID)
    log.log = log.with_clock(clock_s)
    log.look()
    assert log.look(NOW + timedelta(minutes=6)).value == 0
