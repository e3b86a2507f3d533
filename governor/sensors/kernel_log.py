"""Signs in the kernel's log of a card that is about to take the desktop with it, read from /dev/kmsg.

Only what the kernel itself wrote counts: programs may write into its log too, as another facility. Nothing here
raises; what a sign leads to is the policy's to say.
"""

import os
import re
import stat
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from governor.policy.facts import Reading

KMSG = Path("/dev/kmsg")
# The kernel's own (Documentation/admin-guide/devices.txt). In containers a console or /dev/null may have that name.
DEVICE = (1, 11)
# The driver's own last words before desktops froze: no memory for a screen, none at all, a failed assertion, and
# any fault that it gives a number.
SIGNS = re.compile(rb"Failed to allocate NVKMS memory|NV_ERR_NO_MEMORY|nvAssertFailedNoLog|NVRM: Xid")
SIGN_COUNTS = timedelta(minutes=5)
# The longest record (the kernel's CONSOLE_EXT_LOG_MAX); a shorter buffer is refused.
RECORD_BYTES = 8192
# All that a log of 256 KiB can hold (32 bytes each, printk_ringbuffer.c), and 15 ms of work.
MOST_RECORDS = 8192
# Numbers of facilities stand above three bits of severity; the kernel's own is 0.
USER_FACILITY = 1 << 3
ABOUT_CHARACTERS = 120
GRANTED_BY = "`sudo sysctl kernel.dmesg_restrict=0` or the capability CAP_SYSLOG grants it"


def _clock_s() -> float:
    """The clock nearest to that of the log: like it, no time server moves it, which is minutes in a month."""
    return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)


@dataclass(frozen=True)
class _Sign:
    at: datetime
    text: str


class KernelLog:
    """The log, read on from where the look before ended; the first look reads what the kernel still has.

    Args:
        path: where it is. clock_s: seconds since boot, as the kernel stamps its records.
        receive: stands in for `os.read`, which gives one record of the real log at each call.
        most_records: what one look reads at most.
        device: numbers that a log of the kernel has; None takes any file for one.
    """

    def __init__(
        self,
        path: Path = KMSG,
        *,
        clock_s: Callable[[], float] = _clock_s,
        receive: Callable[[int, int], bytes] = os.read,
        most_records: int = MOST_RECORDS,
        device: tuple[int, int] | None = DEVICE,
    ) -> None:
        self._path, self._clock_s, self._receive, self._most_records = path, clock_s, receive, most_records
        self._device = device
        self._file: int | None = None
        self._signs: deque[_Sign] = deque()
        self._last_number = -1

    def read(self, now: datetime) -> Reading:
        """How many signs the last five minutes had; `about` is the last one, `at` its time."""
        try:
            all_read = self._read_on(now)
        except PermissionError as error:
            return _unknown(f"this user may not read {self._path} ({error.strerror}); {GRANTED_BY}")
        except FileNotFoundError:
            return _unknown(f"this system has no {self._path}")
        except (OSError, AttributeError) as error:  # the latter: a system without that clock
            self.close()
            return _unknown(f"{self._path} cannot be read ({error})")
        while self._signs and self._signs[0].at < now - SIGN_COUNTS:
            self._signs.popleft()
        if not self._signs and not all_read:
            return _unknown("the kernel wrote more than one look reads")
        about, at = (self._signs[-1].text, self._signs[-1].at) if self._signs else ("", None)
        return Reading(name="kernel_signs", value=float(len(self._signs)), unit="", about=about, at=at)

    def close(self) -> None:
        """Let go of the file; the next look opens it again and counts nothing twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        self.close()

    def _read_on(self, now: datetime) -> bool:
        """Take in what is new; False when there is more than one look should read."""
        clock_s = self._clock_s()
        if self._file is None:
            self._file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
            if self._device is not None and _device(self._file) != self._device:
                raise OSError("it is not the kernel's log, as in many containers")
        for _ in range(self._most_records):
            try:
                record = self._receive(self._file, RECORD_BYTES)
            except BrokenPipeError:  # the oldest were overwritten before they were read: it goes on after them
                continue
            except BlockingIOError:
                return True
            if not record:
                return True
            if SIGNS.search(record):
                self._take(record, now, clock_s)
        return False

    def _take(self, record: bytes, now: datetime, clock_s: float) -> None:
        """One record: `level,number,microseconds,flags;text`, then lines of its own that begin with a space."""
        head, _, text = record.decode(errors="replace").partition(";")
        line = text.partition("\n")[0]
        try:
            level, number, microseconds = (int(word) for word in head.split(",")[:3])
        except ValueError:
            return
        if level >= USER_FACILITY or number <= self._last_number or not SIGNS.search(line.encode()):
            return
        self._last_number = number
        age = timedelta(seconds=max(0.0, clock_s - microseconds / 1e6))
        self._signs.append(_Sign(now - age, line[:ABOUT_CHARACTERS]))


def _device(file: int) -> tuple[int, int] | None:
    """Major and minor number, None of what is no character device."""
    seen = os.fstat(file)
    return (os.major(seen.st_rdev), os.minor(seen.st_rdev)) if stat.S_ISCHR(seen.st_mode) else None


def _unknown(why: str) -> Reading:
    return Reading(name="kernel_signs", value=None, unit="", why=why)
