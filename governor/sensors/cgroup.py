"""What a container or a systemd slice allows this process, read from cgroup v2. No limit is a normal case.

A machine's own figures say 64 GiB and 32 cores also where a container may use 2 of each. cgroup v1 is
not read: the machine's figures stand there.
"""

from dataclasses import dataclass
from pathlib import Path

from governor.settings import MIB

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
# Lines of memory.stat. The kernel's own MemAvailable counts the same three; pages that were read twice, and weights
# that are mapped, are active.
RECLAIMABLE = frozenset({"inactive_file", "active_file", "slab_reclaimable"})


@dataclass(frozen=True)
class Limits:
    """The tightest limits on the way from our group to the root; None where there is none."""

    memory_mib: float | None = None
    available_mib: float | None = None
    cores: float | None = None


def read(*, root: Path = CGROUPS, own: Path = OWN) -> Limits:
    """Limits of the group of this process and of every group above it."""
    memory, available, cores = [], [], []
    for group in _groups(root, own):
        limit = _number(group / "memory.max")
        used = _number(group / "memory.current")
        if limit is not None:
            memory.append(limit / MIB)
            if used is not None:
                available.append(max(0.0, limit - max(0.0, used - _reclaimable(group))) / MIB)
        quota = _quota(group / "cpu.max")
        if quota is not None:
            cores.append(quota)
    return Limits(min(memory, default=None), min(available, default=None), min(cores, default=None))


def own_group(*, root: Path = CGROUPS, own: Path = OWN) -> Path:
    """Folder of the group of this process; it need not be there (cgroup v1, another system)."""
    return _groups(root, own)[0]


def _groups(root: Path, own: Path) -> list[Path]:
    """Our group first, the root last; inside a container with a cgroup namespace that is one and the same."""
    lines = (_text(own) or "").splitlines()
    name = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    group = root / name.lstrip("/")
    if ".." in group.parts:  # our group lies outside of what this namespace shows
        return [root]
    return [group, *(parent for parent in group.parents if parent.is_relative_to(root))]


def _reclaimable(group: Path) -> float:
    """Bytes of files and of their names that the kernel keeps as long as nobody else needs the room."""
    lines = (line.partition(" ") for line in (_text(group / "memory.stat") or "").splitlines())
    return sum(float(value) for name, _, value in lines if name in RECLAIMABLE and value.isdigit())


def _quota(file: Path) -> float | None:
    """Cores of a `cpu.max` (`quota period`, in microseconds)."""
    quota, _, period = (_text(file) or "").partition(" ")
    return float(quota) / float(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _number(file: Path) -> float | None:
    text = _text(file)
    return float(text) if text is not None and text.isdigit() else None


def _text(file: Path) -> str | None:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return None
