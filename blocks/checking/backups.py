"""Whether backups are there, young, whole and as large as they were. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from statistics import median

from blocks.checking.findings import Finding, fail, figure, fine, megabytes, named, warn
from blocks.checking.settings import CheckSettings
from governor.policy.facts import Fact

# Earlier files that say what size is usual.
USUAL_OF = 7


class BackupFile(Fact):
    """One file of a backup set.

    Attributes:
        at: when it was written. checksum: `ok`, `wrong`, `missing`; `unread` where it was too large to check.
    """

    set: str
    name: str
    bytes: int
    at: datetime
    checksum: str = "missing"


class Backups(Fact):
    """What there is.

    Attributes:
        listed_at: when somebody else made the list; None when the files were looked at.
        unreadable: entries that are none. notes: what kept the reader from seeing all.
    """

    files: tuple[BackupFile, ...]
    listed_at: datetime | None = None
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def judge(facts: Backups, settings: CheckSettings, now: datetime) -> list[Finding]:
    """One finding a set, more where more is wrong. Ages in a list count from when the list was made."""
    as_of = facts.listed_at or now
    sets: dict[str, list[BackupFile]] = defaultdict(list)
    for file in facts.files:
        sets[file.set].append(file)
    found = [finding for name in sorted(sets) for finding in _of_set(name, sets[name], settings, as_of)]
    found += [warn(named(name), f"The entry {named(name)} cannot be read.") for name in facts.unreadable]
    found += [warn("the folder", note) for note in facts.notes]
    return [*found, *_of_list(facts.listed_at, settings, now)]


def _of_list(listed_at: datetime | None, settings: CheckSettings, now: datetime) -> Iterable[Finding]:
    if listed_at is None:
        return
    hours = (now - listed_at).total_seconds() / 3600
    if hours > settings.backup_hours:
        what = f"The list of backups is {_age(hours)} old; nothing is known of the backups since."
        yield fail("the list", what, value=_age(hours), limit=_age(settings.backup_hours))


def _of_set(name: str, files: list[BackupFile], settings: CheckSettings, as_of: datetime) -> list[Finding]:
    by_age = sorted(files, key=lambda file: (file.at, file.name), reverse=True)
    newest, subject = by_age[0], named(name)
    problems = [*_age_of(newest, subject, settings, as_of), *_size_of(newest, by_age[1:], subject, settings)]
    problems += _sum_of(newest, subject)
    if problems:
        return problems
    age = _age((as_of - newest.at).total_seconds() / 3600)
    what = f"The newest backup of {subject} is {age} old and has {megabytes(newest.bytes)}."
    return [fine(subject, what, value=age, limit=_age(settings.backup_hours))]


def _age_of(newest: BackupFile, subject: str, settings: CheckSettings, as_of: datetime) -> Iterable[Finding]:
    hours, limit = (as_of - newest.at).total_seconds() / 3600, _age(settings.backup_hours)
    if hours > settings.backup_hours:
        what = f"The newest backup of {subject} is {_age(hours)} old; at most {limit} are allowed."
        yield fail(subject, what, value=_age(hours), limit=limit)
    elif hours < -1:
        yield warn(subject, f"The newest backup of {subject} is dated in the future.", value=f"{newest.at:%Y-%m-%d}")


def _size_of(newest: BackupFile, earlier: list[BackupFile], subject: str, settings: CheckSettings) -> Iterable[Finding]:
    name = named(newest.name)
    sizes = [file.bytes for file in earlier if file.bytes > 0][:USUAL_OF]
    if newest.bytes <= 0:
        yield fail(subject, f"The newest backup file {name} of {subject} is empty.", value="0 bytes")
    elif sizes and newest.bytes < settings.backup_share * median(sizes):
        usual = megabytes(median(sizes))
        what = f"The newest backup of {subject} has shrunk to {megabytes(newest.bytes)}; usual are {usual}."
        yield fail(subject, what, value=megabytes(newest.bytes), limit=usual)
    elif not sizes:
        yield warn(subject, f"There is only one backup of {subject}.", value="1 file")


def _sum_of(newest: BackupFile, subject: str) -> Iterable[Finding]:
    name = named(newest.name)
    if newest.checksum == "wrong":
        yield fail(subject, f"The checksum of the backup file {name} is wrong; the file is damaged.", value="wrong")
    elif newest.checksum == "missing":
        yield warn(subject, f"The backup file {name} has no checksum.", value="missing")
    elif newest.checksum == "unread":
        yield warn(subject, f"The backup file {name} is too large to check its checksum here.", value="unread")


def _age(hours: float) -> str:
    return f"{figure(round(hours, 1))} hours" if hours < 72 else f"{figure(round(hours / 24, 1))} days"
