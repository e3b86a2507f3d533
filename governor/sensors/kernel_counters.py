"""What the Linux kernel counts of memory that ran short: swapped pages and major faults, and stalls (PSI).

A rate is told between two looks, a second apart or more. Other systems count elsewhere: there it is unknown. Nothing
here raises.
"""

import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from governor.policy.facts import Reading
from governor.sensors import cgroup
from governor.settings import MIB

VMSTAT = Path("/proc/vmstat")
PRESSURE = Path("/proc/pressure/memory")
# Lines of /proc/vmstat: pages swapped in and out, and faults that had to wait for a disk.
COUNTED = frozenset({"pswpin", "pswpout", "pgmajfault"})
FIRST = "needs two looks"
# Looks may come ten a second; over less than this a rate is noise: programs swap in bursts.
LEAST_SECONDS = 1.0


@dataclass(frozen=True)
class _Look:
    at_s: float
    counts: Mapping[str, int]


@dataclass
class Rates:
    """How fast the kernel's counters grow. Of the whole machine, whatever group this process is in.

    Args:
        file: a stand-in for /proc/vmstat. page_bytes: what a swapped page is.
    """

    file: Path = VMSTAT
    page_bytes: int = mmap.PAGESIZE
    _before: _Look | None = field(default=None, init=False)
    _told: list[Reading] = field(default_factory=list, init=False)

    def read(self, clock_s: float) -> list[Reading]:
        """MiB swapped and major faults in a second since the look before, at `clock_s` of the monotonic clock.

        Sooner than a second after the counters were last taken, the same rates again; the counters stay those.
        """
        if self._before is not None and 0 <= clock_s - self._before.at_s < LEAST_SECONDS:
            return self._told
        try:
            look = _Look(clock_s, _counts(self.file))
        except (OSError, ValueError) as error:
            why = f"the kernel's counters cannot be read ({_what(error)})"
            return _rates(lambda _name: (None, why), 0.0)
        before, self._before = self._before, look
        self._told = _rates(lambda name: _per_second(before, look, name), self.page_bytes / MIB)
        return self._told


def stalls(*, file: Path = PRESSURE, group: Callable[[], Path] = cgroup.own_group) -> list[Reading]:
    """Share of the last ten seconds in which some task, and in which every one, waited for memory.

    In a group that has such figures of its own, the worse of its and the machine's.
    """
    machine, why = _averages(file)
    own, _ = _averages(group() / "memory.pressure")
    return [
        _reading(
            f"psi_memory_{kind}_percent",
            max((seen[kind] for seen in (machine, own) if kind in seen), default=None),
            "%",
            why or f"the kernel does not say `{kind}`",
        )
        for kind in ("some", "full")
    ]


def _rates(rate: Callable[[str], tuple[float | None, str]], page_mib: float) -> list[Reading]:
    (came, why_in), (went, why_out), (faults, why_no_faults) = map(rate, ("pswpin", "pswpout", "pgmajfault"))
    both = None if came is None or went is None else (came + went) * page_mib
    return [
        _reading("swap_in_mib_per_s", None if came is None else came * page_mib, "MiB/s", why_in),
        _reading("swap_out_mib_per_s", None if went is None else went * page_mib, "MiB/s", why_out),
        _reading("swap_mib_per_s", both, "MiB/s", why_in or why_out),
        _reading("major_faults_per_s", faults, "1/s", why_no_faults),
    ]


def _per_second(before: _Look | None, look: _Look, name: str) -> tuple[float | None, str]:
    if name not in look.counts:
        return None, f"the kernel does not count {name}"
    if before is None or name not in before.counts:
        return None, FIRST
    if look.at_s <= before.at_s:
        return None, "no time went by between two looks"
    more = look.counts[name] - before.counts[name]
    return (None, f"{name} went backwards") if more < 0 else (more / (look.at_s - before.at_s), "")


def _counts(file: Path) -> dict[str, int]:
    """Raises OSError, ValueError."""
    words = (line.split() for line in file.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and pair[0] in COUNTED}


def _averages(file: Path) -> tuple[dict[str, float], str]:
    """`avg10` of each line, as `some avg10=0.12 avg60=0.05 avg300=0.01 total=1234`."""
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
        return {line[0]: float(line[1].removeprefix("avg10=")) for line in lines if len(line) > 1}, ""
    except FileNotFoundError:
        return {}, "a kernel without PSI"
    except (OSError, ValueError) as error:  # built in, and off until the kernel is started with `psi=1`
        return {}, f"PSI cannot be read ({_what(error)})"


def _reading(name: str, value: float | None, unit: str, why: str) -> Reading:
    return Reading(name=name, value=value, unit=unit, why="" if value is not None else why)


def _what(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
