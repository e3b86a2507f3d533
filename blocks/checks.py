"""What each check reads and how it judges that: one place where a check's name meets its parts.

A part is imported only by the check that needs it. The verdict follows from facts alone; what a model says about a
failure is the flow's business.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from blocks.checking.findings import Finding
from blocks.checking.settings import Check, CheckSettings
from blocks.reading.earlier import Values
from blocks.reading.jail import within
from blocks.reading.places import files_in, locate, unreadable
from blocks.writing.outputs import sha256_of


class Watched(BaseModel):
    """What was read, before it is judged.

    Attributes:
        facts: its sha256 says whether anything changed since an earlier run.
        addresses: that the inputs name; the page may too.
        values: what a later run is compared with. judge: from the values of an earlier run to findings.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    facts: str
    judge: Callable[[Values], list[Finding]]
    values: Values = {}
    addresses: tuple[str, ...] = ()


class Told(BaseModel):
    """What a check is told."""

    model_config = ConfigDict(frozen=True)

    source: str
    settings: CheckSettings
    now: datetime
    max_bytes: int


def watch(check: Check, told: Told) -> Watched:
    """Read what the check is about.

    Raises:
        BadInput: it cannot be read, or there is nothing in it.
    """
    return WATCHES[check](told)


def _backup(told: Told) -> Watched:
    from blocks.checking.backups import judge
    from blocks.reading.backups import read_backups

    facts = read_backups(told.source, max_bytes=told.max_bytes)
    return Watched(facts=_digest(facts), judge=lambda _: judge(facts, told.settings, told.now))


def _disk_and_certificates(told: Told) -> Watched:
    from blocks.checking import certificates, disks
    from blocks.reading.certificates import SUFFIXES, read_certificates
    from blocks.reading.disks import LIST, listed, measured

    folder = locate(told.source)
    there = measured(told.settings.disks)
    if folder.is_dir() and (path := within(folder, LIST)):
        there += listed(path, max_bytes=told.max_bytes)
    some = files_in(told.source, SUFFIXES) if folder.is_dir() or folder.suffix in SUFFIXES else []
    read = read_certificates(told.source, max_bytes=told.max_bytes) if some else None
    if not there and read is None:
        raise unreadable(told.source, f"it has no certificates and no {LIST}, and `settings.disks` names no path")

    def judge(_: Values) -> list[Finding]:
        of_certificates = certificates.judge(read, told.settings, told.now) if read else []
        return [*disks.judge(there, told.settings), *of_certificates]

    return Watched(facts=_digest(*there, read), judge=judge)


def _uptime(told: Told) -> Watched:
    from blocks.checking.uptime import judge
    from blocks.reading.uptime import MOST_ADDRESSES, logged, probed

    wanted = list(dict.fromkeys(told.settings.addresses))
    if wanted:
        left_out = tuple(wanted[MOST_ADDRESSES:])
        facts = probed(wanted[:MOST_ADDRESSES], told.now).model_copy(update={"left_out": left_out})
    else:
        facts = logged(told.source, max_bytes=told.max_bytes)
    return Watched(
        facts=_digest(facts),
        judge=lambda _: judge(facts, told.settings, told.now),
        addresses=(*sorted({probe.address for probe in facts.probes}), *facts.left_out),
    )


def _dependencies(told: Told) -> Watched:
    from blocks.checking.advisories import judge
    from blocks.reading.dependencies import read_dependencies

    facts = read_dependencies(told.source, told.settings.advisories, max_bytes=told.max_bytes)
    return Watched(facts=_digest(facts), judge=lambda _: judge(facts))


def _links(told: Told) -> Watched:
    from blocks.checking.broken_links import judge
    from blocks.reading.links import read_links

    facts = read_links(told.source, online=told.settings.online, max_bytes=told.max_bytes)
    addresses = tuple(sorted({link.target for link in facts.links}))
    return Watched(facts=_digest(facts), judge=lambda _: judge(facts), addresses=addresses)


def _data_quality(told: Told) -> Watched:
    from blocks.checking.data_quality import counts, judge
    from blocks.reading.tables import read_tables

    rules = told.settings.rules
    if not rules:
        raise unreadable(told.source, "`settings.rules` has no rule, so there is nothing to check")
    facts = read_tables(told.source, rules, max_bytes=told.max_bytes)
    return Watched(facts=_digest(facts), values=counts(facts), judge=lambda before: judge(facts, rules, before))


def _prices(told: Told) -> Watched:
    from blocks.checking.prices import judge
    from blocks.reading.prices import as_values, from_values, read_prices

    now, earlier = read_prices(told.source, max_bytes=told.max_bytes)
    return Watched(
        facts=_digest(now, earlier),
        values=as_values(now.prices),
        judge=lambda before: judge(now, earlier.prices if earlier else from_values(before), told.settings),
    )


WATCHES: dict[Check, Callable[[Told], Watched]] = {
    Check.BACKUP: _backup,
    Check.DISK_AND_CERTIFICATES: _disk_and_certificates,
    Check.UPTIME: _uptime,
    Check.DEPENDENCIES: _dependencies,
    Check.LINKS: _links,
    Check.DATA_QUALITY: _data_quality,
    Check.PRICES: _prices,
}


def _digest(*facts: Any) -> str:
    return sha256_of([fact.model_dump(mode="json") if isinstance(fact, BaseModel) else fact for fact in facts])


def name_of(source: str) -> str:
    """A source as provenance names it."""
    return Path(source).name or source
