"""Whether disks have room. Pure."""

from collections.abc import Sequence

from blocks.checking.findings import Finding, fail, figure, fine, megabytes, named, warn
from blocks.checking.settings import CheckSettings
from governor.policy.facts import Fact


class Disk(Fact):
    """What one disk has. `total_files` (inodes) is 0 where the file system does not count them."""

    path: str
    total_bytes: int
    free_bytes: int
    total_files: int = 0
    free_files: int = 0


def judge(disks: Sequence[Disk], settings: CheckSettings) -> list[Finding]:
    """One finding for the room of each disk, one for its files where it counts them."""
    return [finding for disk in disks for finding in _of_disk(disk, settings)]


def _of_disk(disk: Disk, settings: CheckSettings) -> list[Finding]:
    subject = named(disk.path)
    if disk.total_bytes <= 0 or not 0 <= disk.free_bytes <= disk.total_bytes:
        return [warn(subject, f"The figures of the disk {subject} make no sense.", value=disk.free_bytes)]
    free = 100 * disk.free_bytes / disk.total_bytes
    words = f"The disk {subject} has {figure(round(free, 1))} % free, {megabytes(disk.free_bytes)}"
    found = [_finding(subject, free, words, settings)]
    if disk.total_files > 0:
        free_files = 100 * min(disk.free_files, disk.total_files) / disk.total_files
        if free_files < settings.free_warn_percent:
            words = f"The disk {subject} has {figure(round(free_files, 1))} % of its files free"
            found.append(_finding(subject, free_files, words, settings))
    return found


def _finding(subject: str, free: float, words: str, settings: CheckSettings) -> Finding:
    value = f"{figure(round(free, 1))} %"
    if free < settings.free_fail_percent:
        limit = f"{figure(settings.free_fail_percent)} %"
        return fail(subject, f"{words}; at least {limit} must be free.", value=value, limit=limit)
    limit = f"{figure(settings.free_warn_percent)} %"
    if free < settings.free_warn_percent:
        return warn(subject, f"{words}; {limit} would be good.", value=value, limit=limit)
    return fine(subject, f"{words}.", value=value, limit=limit)
