"""What this host has and what is left of it: memory and cores, through psutil, within a container's limits.

A host that cannot be read is unknown, with the reason; nothing here raises.
"""

import os
from collections.abc import Callable
from typing import Any

import psutil

from governor.policy.facts import Reading
from governor.sensors import cgroup
from governor.settings import MIB

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


def _unknown(why: str, *names: tuple[str, str]) -> list[Reading]:
    return [Reading(name=name, value=None, unit=unit, why=why) for name, unit in names]


def _what(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
