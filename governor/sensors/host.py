"""What this host has and what is left of it: memory and cores, through psutil, within a container's limits.

Also its power and its disk; what the kernel counts is `kernel_counters`. A host that cannot be read is unknown,
with the reason; nothing here raises.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from governor.policy.facts import Reading
from governor.sensors import cgroup
from governor.sensors.kernel_counters import Rates, stalls
from governor.settings import MIB, home

# What psutil raises where /proc is hidden, cut short or of another system.
UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, AttributeError, psutil.Error)


def read(
    *,
    memory: Callable[[], Any] = psutil.virtual_memory,
    swap: Callable[[], Any] = psutil.swap_memory,
    limits: Callable[[], cgroup.Limits] = cgroup.read,
) -> list[Reading]:
    """Memory available (MiB and share of what there is) and swap in use (share of what there is)."""
    return [*_memory(memory, limits()), _swap(swap)]


@dataclass(frozen=True)
class Host:
    """This host, looked at again and again: its rates are those between two looks of one object.

    Args:
        memory: what `read` reads, and `rates`, `stalls`, `battery` and `folder` likewise: stand-ins, for tests.
    """

    memory: Callable[[], list[Reading]] = read
    rates: Rates = field(default_factory=Rates)
    stalls: Callable[[], list[Reading]] = stalls
    battery: Callable[[], Any] = lambda: psutil.sensors_battery()  # absent on some systems: looked up when asked
    folder: Callable[[], Path] = lambda: home().root

    def read(self, clock_s: float) -> list[Reading]:
        """Memory, rates since a look a second ago or earlier, stalls, power and the disk of the state folder.

        Args:
            clock_s: seconds of the monotonic clock.
        """
        return [
            *self.memory(),
            *self.rates.read(clock_s),
            *self.stalls(),
            *_power(self.battery),
            _disk(self.folder),
        ]


def total_mib(
    *, memory: Callable[[], Any] = psutil.virtual_memory, limits: Callable[[], cgroup.Limits] = cgroup.read
) -> float | None:
    """Memory that this process may use at most; None when it cannot be read."""
    try:
        total = memory().total / MIB
    except UNREADABLE:
        return limits().memory_mib
    return min(total, limits().memory_mib or total)


def cores(*, limits: Callable[[], cgroup.Limits] = cgroup.read) -> int:
    """Physical cores that this process may use, at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
    physical = psutil.cpu_count(logical=False) or allowed
    return max(1, int(min(allowed, physical, limits().cores or allowed)))


def on_mains(*, battery: Callable[[], Any] | None = None) -> bool | None:
    """Whether the machine is on mains now; None when nobody says, which is also what a machine without a battery is."""
    told = next(r for r in _power(battery or (lambda: psutil.sensors_battery())) if r.name == "on_mains").value
    return None if told is None else bool(told)


def _memory(memory: Callable[[], Any], limits: cgroup.Limits) -> list[Reading]:
    try:
        seen = memory()
        total, available = seen.total / MIB, seen.available / MIB
    except UNREADABLE as error:
        return _unknown(_what(error), ("host_available_mib", "MiB"), ("host_available_percent", "%"))
    if limits.memory_mib is not None and limits.memory_mib < total:
        total = limits.memory_mib
        available = min(available, total if limits.available_mib is None else limits.available_mib)
    if total <= 0:
        return _unknown(
            "it says that there is no memory", ("host_available_mib", "MiB"), ("host_available_percent", "%")
        )
    return [
        Reading(name="host_available_mib", value=available, unit="MiB"),
        Reading(name="host_available_percent", value=100 * available / total, unit="%"),
    ]


def _swap(swap: Callable[[], Any]) -> Reading:
    try:
        seen = swap()
        total, percent = seen.total, float(seen.percent)
    except UNREADABLE as error:
        return _unknown(_what(error), ("swap_used_percent", "%"))[0]
    if not total:
        return _unknown("this machine has no swap", ("swap_used_percent", "%"))[0]
    return Reading(name="swap_used_percent", value=percent, unit="%")


def _power(battery: Callable[[], Any]) -> list[Reading]:
    """Charge and mains. No battery is told like one that is hidden from a container, so neither says `on mains`."""
    why, seen = "no battery", None
    try:
        seen = battery()
    except UNREADABLE as error:
        why = f"the battery cannot be read ({_what(error)})"
    if seen is None:
        return _unknown(why, ("battery_percent", "%"), ("on_mains", ""))
    plugged = None if seen.power_plugged is None else float(seen.power_plugged)
    why = "" if plugged is not None else "the battery does not say"
    return [
        Reading(name="battery_percent", value=float(seen.percent), unit="%"),
        Reading(name="on_mains", value=plugged, unit="", why=why),
    ]


def _disk(folder: Callable[[], Path]) -> Reading:
    try:
        return Reading(name="disk_free_mib", value=shutil.disk_usage(folder()).free / MIB, unit="MiB")
    except UNREADABLE as error:
        return _unknown(_what(error), ("disk_free_mib", "MiB"))[0]


def _unknown(why: str, *names: tuple[str, str]) -> list[Reading]:
    return [Reading(name=name, value=None, unit=unit, why=why) for name, unit in names]


def _what(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
