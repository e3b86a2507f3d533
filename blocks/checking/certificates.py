"""Whether certificates are valid, and for how long. Pure."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from blocks.checking.findings import Finding, fail, fine, named, warn
from blocks.checking.settings import CheckSettings
from governor.policy.facts import Fact


class Certificate(Fact):
    """One certificate of a file. `position`: 1 is the first in it, which is the server's own in a chain."""

    file: str
    position: int
    name: str
    issuer: str
    begins: datetime
    ends: datetime


class Certificates(Fact):
    """What was read; `broken`: file -> why it cannot be; `notes`: what kept the reader from seeing all."""

    found: tuple[Certificate, ...]
    broken: dict[str, str]
    notes: tuple[str, ...] = ()


def judge(facts: Certificates, settings: CheckSettings, now: datetime) -> list[Finding]:
    """One finding a certificate, one a broken file, one a chain in the wrong order."""
    found = [_of_one(certificate, settings, now) for certificate in facts.found]
    found += [
        fail(named(file), f"The certificate file {named(file)} cannot be read: {named(why)}.", value="broken")
        for file, why in sorted(facts.broken.items())
    ]
    return [*found, *_chains(facts.found), *(warn("the folder", note) for note in facts.notes)]


def _of_one(certificate: Certificate, settings: CheckSettings, now: datetime) -> Finding:
    subject = named(certificate.file if certificate.position == 1 else f"{certificate.file} ({certificate.position})")
    days = (certificate.ends - now).days
    who, day = f"The certificate of {named(certificate.name)} in {subject}", f"{certificate.ends:%Y-%m-%d}"
    warns, fails = f"{settings.certificate_warn_days} days", f"{settings.certificate_fail_days} days"
    if certificate.ends <= now:
        return fail(subject, f"{who} expired on {day}.", value=day, limit=fails)
    if certificate.begins > now:
        return fail(subject, f"{who} is not valid before {certificate.begins:%Y-%m-%d}.", value="not yet valid")
    if days < settings.certificate_fail_days:
        return fail(subject, f"{who} ends in {days} days, on {day}.", value=f"{days} days", limit=fails)
    if days < settings.certificate_warn_days:
        return warn(subject, f"{who} ends in {days} days, on {day}.", value=f"{days} days", limit=warns)
    return fine(subject, f"{who} is valid until {day}.", value=f"{days} days", limit=warns)


def _chains(found: Sequence[Certificate]) -> list[Finding]:
    """Each certificate of a file must be followed by its issuer's, or clients do not trust it."""
    return [
        warn(named(one.file), f"The certificates in {named(one.file)} are no chain in order.", value="out of order")
        for one, after in pairwise(found)
        if one.file == after.file and one.issuer != after.name
    ]
