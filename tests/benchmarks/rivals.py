"""What earlyoom, systemd-oomd and LocalAI's memory reclaimer do on a trace, by their published rules.

Written from their documentation and sources, in our own words; each rule is a pure function, each guard calls it at
the tool's own interval. earlyoom and systemd-oomd cannot see a card at all: what happens there is a blind spot of
theirs by nature, as the host is of LocalAI's reclaimer while a card answers. Defaults everywhere, and where a tool
needs more than a trace has, its favour:

- earlyoom (rfjakob/earlyoom; README, MANPAGE.md and main.c, kill.c of 1.6 to 1.8): when available memory and free
  swap are both at or below 10%, SIGTERM for the process with the highest oom_score, SIGKILL at or below 5%; it waits up
  to 10 s for that process to exit. It sleeps headroom / fill rate (6,000 MiB/s of memory, 800 MiB/s of swap), 0.1 to
  1 s. oom_score is taken as resident plus swapped memory, without adjustments.
- systemd-oomd (systemd/systemd; man oomd.conf(5) of 247 to 256; src/oom/oomd-manager.{c,h}, oomd-util.c):
  SwapUsedLimit, 90% of memory and of swap in use, looked at every 0.15 s, kills the group that swapped most, if more
  than 5% of all swap; DefaultMemoryPressureLimit, more than 60% "full" over 10 s for DefaultMemoryPressureDurationSec
  of 30 s, looked at every second, kills the group that reclaims most, then not for 15 s. Here every process is a group
  of its own (in life our engines share one), and who is largest reclaims most.
- LocalAI (mudler/LocalAI; docs "VRAM and Memory Management"; core/cli/run.go, pkg/model/watchdog.go, pkg/xsysinfo, from
  pull request 7583 of December 2025 to 4.8; mudler/go-processmanager, process.go): with --enable-memory-reclaimer,
  every 0.5 s, above 95% (--memory-reclaimer-threshold) of the card in use, of the host's memory when the card says
  nothing, the least recently used model that is not busy (--force-eviction-when-busy is off) is shut down. One a look.
  There is no second mark, no persistence, and no waiting for the memory: it is killed, forgotten, and half a second
  later the next look decides by what is free then.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.benchmarks.guards import Act, Do, Readings
from tests.benchmarks.simulated import Process, Resident, World

TERM_PERCENT, KILL_PERCENT = 10.0, 5.0
MEMORY_FILL_MIB_PER_S, SWAP_FILL_MIB_PER_S = 6000.0, 800.0
LEAST_SLEEP_SECONDS, MOST_SLEEP_SECONDS = 0.1, 1.0
WAITS_FOR_EXIT_SECONDS = 10.0

PRESSURE_PERCENT, PRESSURE_SECONDS, PRESSURE_EVERY_SECONDS = 60.0, 30.0, 1.0
USED_PERCENT, USED_EVERY_SECONDS, SWAPPED_PERCENT = 90.0, 0.15, 5.0
AFTER_KILL_SECONDS = 15.0

RECLAIM_PERCENT, RECLAIM_EVERY_SECONDS = 95.0, 0.5


def earlyoom_signal(available_percent: float, swap_free_percent: float) -> str | None:
    """`SIGTERM`, `SIGKILL` or nothing. A machine without swap has 0% free of it."""
    worst = max(available_percent, swap_free_percent)
    if worst <= KILL_PERCENT:
        return "SIGKILL"
    return "SIGTERM" if worst <= TERM_PERCENT else None


def earlyoom_sleep_seconds(available_mib: float, ram_mib: float, swap_free_mib: float, swap_mib: float) -> float:
    """Until the next look: as long as both could not have filled up."""
    memory_mib = max(0.0, available_mib - ram_mib * TERM_PERCENT / 100)
    left_mib = max(0.0, swap_free_mib - swap_mib * TERM_PERCENT / 100)
    seconds = memory_mib / MEMORY_FILL_MIB_PER_S + left_mib / SWAP_FILL_MIB_PER_S
    return min(MOST_SLEEP_SECONDS, max(LEAST_SLEEP_SECONDS, seconds))


def largest(processes: Iterable[Process]) -> Process | None:
    """The highest oom_score."""
    return max(processes, key=lambda p: (p.rss_mib + p.swap_mib, p.name), default=None)


def oomd_over_limits(available_percent: float, swap_free_percent: float) -> bool:
    """Whether memory and swap are both used beyond SwapUsedLimit."""
    free_percent = 100 - USED_PERCENT
    return available_percent < free_percent and swap_free_percent < free_percent


def oomd_swap_victim(processes: Iterable[Process], swap_mib: float) -> Process | None:
    """Who swapped most, if that is worth it."""
    large = [p for p in processes if p.swap_mib > swap_mib * SWAPPED_PERCENT / 100]
    return max(large, key=lambda p: (p.swap_mib, p.name), default=None)


def oomd_since(full_percent: float | None, since_s: float | None, at_s: float) -> float | None:
    """From when on the pressure is above its limit without a break; None while it is not."""
    if full_percent is None or full_percent <= PRESSURE_PERCENT:
        return None
    return at_s if since_s is None else since_s


def reclaimer_fires(vram_used_percent: float | None, ram_used_percent: float | None) -> bool:
    """Whether LocalAI evicts at this look."""
    percent = ram_used_percent if vram_used_percent is None else vram_used_percent
    return percent is not None and percent > RECLAIM_PERCENT


def least_recently_used(residents: Sequence[Resident], at_s: float) -> Resident | None:
    """The one of LocalAI's models to shut down; a busy one, or one that was shut down already, is not among them."""
    tracked = [r for r in residents if r.settled(at_s) and not r.busy]
    return min(tracked, key=lambda r: (r.used_s, r.resident_id), default=None)


@dataclass
class EarlyOom:
    """earlyoom with its defaults."""

    name: str = "earlyoom"
    next_s: float = 0.0
    victim: Process | None = None
    killed: bool = False
    gives_up_s: float = 0.0

    def step(self, at_s: float, readings: Readings, world: World) -> list[Act]:
        """See Guard."""
        available, swap_used = readings["host_available_percent"], readings["swap_used_percent"]
        if available is None:
            return []
        free = 0.0 if swap_used is None else 100 - swap_used
        sent = earlyoom_signal(available, free)
        if self.victim is not None:
            return self._wait(at_s, sent, world)
        if at_s < self.next_s:
            return []
        ram_mib, swap_mib = world.shape.host.ram_mib, world.shape.host.swap_mib
        self.next_s = at_s + earlyoom_sleep_seconds(available * ram_mib / 100, ram_mib, free * swap_mib / 100, swap_mib)
        victim = largest(world.processes()) if sent else None
        if victim is None:
            return []
        self.victim, self.killed, self.gives_up_s = victim, sent == "SIGKILL", at_s + WAITS_FOR_EXIT_SECONDS
        return [Act(Do.KILL, victim.name)]

    def _wait(self, at_s: float, sent: str | None, world: World) -> list[Act]:
        """Until it has exited; SIGKILL comes after SIGTERM when it got worse meanwhile."""
        victim = self.victim
        if victim is None or at_s >= self.gives_up_s or victim.name not in {p.name for p in world.processes()}:
            self.victim = None
        elif sent == "SIGKILL" and not self.killed:
            self.killed = True
            return [Act(Do.KILL, victim.name)]
        return []


@dataclass
class SystemdOomd:
    """systemd-oomd with its defaults, both kinds of kill enabled for everything."""

    name: str = "systemd-oomd"
    since_s: float | None = None
    pressure_s: float = 0.0
    used_s: float = 0.0
    quiet_until_s: float = 0.0

    def step(self, at_s: float, readings: Readings, world: World) -> list[Act]:
        """See Guard."""
        victims = {self._swap(at_s, readings, world), self._pressure(at_s, readings, world)}
        return [Act(Do.KILL, victim.name) for victim in victims if victim is not None]

    def _swap(self, at_s: float, readings: Readings, world: World) -> Process | None:
        available, swap_used = readings["host_available_percent"], readings["swap_used_percent"]
        if at_s < self.used_s or available is None or swap_used is None:
            return None
        self.used_s = at_s + USED_EVERY_SECONDS
        over = oomd_over_limits(available, 100 - swap_used)
        return oomd_swap_victim(world.processes(), world.shape.host.swap_mib) if over else None

    def _pressure(self, at_s: float, readings: Readings, world: World) -> Process | None:
        if at_s < self.pressure_s:
            return None
        self.pressure_s = at_s + PRESSURE_EVERY_SECONDS
        self.since_s = oomd_since(readings["psi_memory_full_percent"], self.since_s, at_s)
        if self.since_s is None or at_s - self.since_s < PRESSURE_SECONDS or at_s < self.quiet_until_s:
            return None
        self.quiet_until_s = at_s + AFTER_KILL_SECONDS
        return largest(world.processes())


@dataclass
class LocalAi:
    """LocalAI's memory reclaimer with its defaults."""

    name: str = "LocalAI"
    next_s: float = RECLAIM_EVERY_SECONDS

    def step(self, at_s: float, readings: Readings, world: World) -> list[Act]:
        """See Guard."""
        if at_s < self.next_s:
            return []
        self.next_s = at_s + RECLAIM_EVERY_SECONDS
        total_mib, free_mib = readings["vram_total_mib"], readings["vram_free_mib"]
        vram = None if total_mib is None or free_mib is None else 100 * (1 - free_mib / total_mib)
        available = readings["host_available_percent"]
        if not reclaimer_fires(vram, None if available is None else 100 - available):
            return []
        model = least_recently_used(list(world.residents.values()), at_s)
        return [] if model is None else [Act(Do.EVICT, model.model.name)]
