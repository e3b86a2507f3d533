"""The host of a trace: what memory is asked for, what the kernel swaps for it, and how long everybody waits for that.

A model, not a measurement. It is written so that the figures of `/proc` go as they do on real machines: available
memory stops falling where hot page cache is counted as available, pressure-stall averages follow over 10 s, a disk
stalls everybody and compressed memory (zram) hardly shows as a stall.
"""

import math
from dataclasses import dataclass, field

from tests.benchmarks.curves import Curve, still

# Swap traffic of a working set that does not fit, per second and MiB of it: a disk is slow, so programs wait and ask
# for less; zram answers at once, so they ask for more.
DISK_THRASH, ZRAM_THRASH = 0.1, 0.6
DISK_MIB_PER_S, ZRAM_MIB_PER_S = 200.0, 1500.0
# Share of a stall that the kernel's pressure figures see on zram: its pages come back in microseconds.
ZRAM_SEEN = 0.1
KERNEL_MIB = 256.0
FAULTS_PER_MIB, FAULTS_OF_CACHE = 32.0, 2000.0
# "full" is a little less than "some": now and then one task of many does not wait.
FULL_OF_SOME = 0.9
AVERAGE_SECONDS = 10.0
# From here on the machine does nothing but wait; a minute of it is what people call frozen.
STALLED, FROZEN_SECONDS = 0.8, 60.0


@dataclass(frozen=True)
class HostShape:
    """Memory and swap of the host in MiB, and who asks for it.

    `hog_mib` is somebody else's program, `hogs` the processes that it consists of. `cold_mib` was swapped long ago;
    `woken_mib_per_s` of it is read back, `turned_over_mib_per_s` go out and come back by turns.
    `cache_mib` of page cache is in use all the time, and yet counted as available. `elsewhere_some_percent` and
    `elsewhere_full_percent` are the stalls of others inside limits of their own, which the machine's figures include.
    """

    ram_mib: float = 16384.0
    swap_mib: float = 8192.0
    zram: bool = False
    system_mib: float = 1200.0
    desktop_mib: float = 3000.0
    hog_mib: Curve = field(default_factory=still)
    hogs: int = 1
    cold_mib: float = 0.0
    woken_mib_per_s: Curve = field(default_factory=still)
    turned_over_mib_per_s: Curve = field(default_factory=still)
    cache_mib: float = 300.0
    elsewhere_some_percent: Curve = field(default_factory=still)
    elsewhere_full_percent: Curve = field(default_factory=still)


@dataclass
class Host:
    """The state of the host, moved on by `step`."""

    shape: HostShape
    ended: set[str] = field(default_factory=set)
    hog_mib: float = 0.0
    desktop_mib: float = 0.0
    available_mib: float = 0.0
    swapped_mib: float = 0.0
    swap_in_mib_per_s: float = 0.0
    swap_out_mib_per_s: float = 0.0
    faults_per_s: float = 0.0
    some_percent: float = 0.0
    full_percent: float = 0.0
    stalled_s: float = 0.0
    out_of_memory: bool = False

    def step(self, at_s: float, seconds: float, engines_mib: float) -> None:
        """What `seconds` with this demand do to it."""
        shape = self.shape
        living = shape.hogs - sum(name.startswith("hog") for name in self.ended)
        self.hog_mib = shape.hog_mib.at(at_s) * living / shape.hogs
        self.desktop_mib = 0.0 if "desktop" in self.ended else shape.desktop_mib
        left = shape.ram_mib - KERNEL_MIB - shape.system_mib - self.desktop_mib - self.hog_mib - engines_mib
        over = max(0.0, -left)
        self.available_mib = max(left, shape.cache_mib)
        self.out_of_memory = over > shape.swap_mib - shape.cold_mib
        stall = self._swap(over, at_s, seconds) if shape.swap_mib else self._refault(left)
        self._wait(stall, at_s, seconds)

    def processes(self) -> dict[str, float]:
        """Those that are not ours, and what each asks for."""
        living = [f"hog {number}" for number in range(self.shape.hogs) if f"hog {number}" not in self.ended]
        found = dict.fromkeys(living, self.hog_mib / max(1, len(living)))
        return {name: mib for name, mib in {"desktop": self.desktop_mib, **found}.items() if mib}

    @property
    def frozen(self) -> bool:
        """Whether nobody can work at it any more."""
        return self.stalled_s >= FROZEN_SECONDS

    @property
    def swap_used_percent(self) -> float | None:
        """None on a machine without swap."""
        return 100 * self.swapped_mib / self.shape.swap_mib if self.shape.swap_mib else None

    def _swap(self, over: float, at_s: float, seconds: float) -> float:
        """Swap traffic of `over` MiB too much, and the share of time that it stalls."""
        woken, turned = self.shape.woken_mib_per_s.at(at_s), self.shape.turned_over_mib_per_s.at(at_s) / 2
        device, eager = (ZRAM_MIB_PER_S, ZRAM_THRASH) if self.shape.zram else (DISK_MIB_PER_S, DISK_THRASH)
        before, self.swapped_mib = self.swapped_mib, min(self.shape.swap_mib, self.shape.cold_mib + over)
        thrash = min(device, eager * over)
        grown = max(0.0, self.swapped_mib - before) / seconds if before else 0.0
        self.swap_in_mib_per_s = thrash / 2 + woken + turned
        self.swap_out_mib_per_s = thrash / 2 + min(device, grown) + turned
        self.faults_per_s = FAULTS_PER_MIB * self.swap_in_mib_per_s
        return thrash / device

    def _refault(self, left: float) -> float:
        """Without swap it is the page cache that has to go, and is read again at once."""
        stall = min(1.0, max(0.0, 1.0 - left / self.shape.cache_mib))
        self.faults_per_s = FAULTS_OF_CACHE * stall
        return stall

    def _wait(self, stall: float, at_s: float, seconds: float) -> None:
        seen = 100 * stall * (ZRAM_SEEN if self.shape.zram and self.shape.swap_mib else 1.0)
        some = min(100.0, seen + self.shape.elsewhere_some_percent.at(at_s))
        full = min(100.0, FULL_OF_SOME * seen + self.shape.elsewhere_full_percent.at(at_s))
        share = 1 - math.exp(-seconds / AVERAGE_SECONDS)
        self.some_percent += (some - self.some_percent) * share
        self.full_percent += (full - self.full_percent) * share
        self.stalled_s = self.stalled_s + seconds if stall >= STALLED else 0.0

    def readings(self) -> dict[str, float | None]:
        """As `governor.sensors.host` names them."""
        swap_in, swap_out = self.swap_in_mib_per_s, self.swap_out_mib_per_s
        swaps = self.shape.swap_mib > 0
        return {
            "host_available_mib": self.available_mib,
            "host_available_percent": 100 * self.available_mib / self.shape.ram_mib,
            "swap_used_percent": self.swap_used_percent,
            "swap_in_mib_per_s": swap_in if swaps else None,
            "swap_out_mib_per_s": swap_out if swaps else None,
            "swap_mib_per_s": swap_in + swap_out if swaps else None,
            "major_faults_per_s": self.faults_per_s,
            "psi_memory_some_percent": self.some_percent,
            "psi_memory_full_percent": self.full_percent,
        }
