"""What may be behind a failed check: sentences to choose among, each with the words of a finding that speak for it.

A model chooses; a cause that nothing in the finding speaks for does not stand. So whatever a model is told by a file
name, it can say no more than one of these. Pure.
"""

import re
from typing import NamedTuple

from blocks.checking.findings import Finding
from blocks.checking.prose import Check as Rule
from blocks.checking.settings import Check

# To choose among: those that something speaks for, and another, by which a model that does not read is found out.
MOST_OTHERS = 1
MOST = 4


class Cause(NamedTuple):
    """A sentence, and the words of a finding that speak for it."""

    evidence: str
    sentence: str


CAUSES: dict[Check, tuple[Cause, ...]] = {
    Check.BACKUP: (
        Cause(r"\bold\b", "The backup job has not run or has stopped."),
        Cause(r"\bold\b", "The new backup files go to another place."),
        Cause(r"shrunk|empty", "The backup job ended before it was done."),
        Cause(r"shrunk", "Part of the data was moved or deleted before the backup."),
        Cause(r"empty", "The disk of the backups was full."),
        Cause(r"checksum|damaged", "The file was damaged while it was copied or stored."),
        Cause(r"checksum|damaged", "The file was changed after its checksum was made."),
    ),
    Check.DISK_AND_CERTIFICATES: (
        Cause(r"% free", "Old files, logs or backups fill the disk."),
        Cause(r"% free", "The data has grown faster than was planned."),
        Cause(r"files free", "A great many small files fill the disk."),
        Cause(r"expired|ends in", "The renewal of the certificate failed or was forgotten."),
        Cause(r"expired|ends in", "The renewed certificate was not put in its place."),
        Cause(r"not valid before", "The certificate was put in its place too early, or a clock is wrong."),
        Cause(r"cannot be read", "The certificate file was cut off or is not a certificate."),
    ),
    Check.UPTIME: (
        Cause(r"timeout|does not answer", "The server is overloaded, or a firewall drops what is asked."),
        Cause(r"refused|connect", "Nothing listens at that address; the service is stopped."),
        Cause(r"status 5", "The service behind the web server fails."),
        Cause(r"status 4", "The page was moved, or asks for a login."),
        Cause(r"resolve|getaddrinfo", "The name of the host is wrong or its entry is gone."),
        Cause(r"was down in", "The service was restarted or fails now and then."),
        Cause(r"old; nothing", "Whatever writes the log has stopped."),
    ),
    Check.DEPENDENCIES: (
        Cause(r"known hole", "The package has not been updated since the hole was found."),
        Cause(r"known hole", "The lock file pins a version from before the fix."),
        Cause(r"not pinned", "The version was left open when the file was written."),
    ),
    Check.LINKS: (
        Cause(r"leads to no file", "The file was renamed, moved or deleted."),
        Cause(r"leads to no file", "The page that is linked has not been written yet."),
        Cause(r"out of the folder", "The link was written for another place of the page."),
        Cause(r"is gone", "The page was taken off the web."),
    ),
    Check.DATA_QUALITY: (
        Cause(r"must be filled", "The form does not ask for the value."),
        Cause(r"must be unique", "The same row was entered or imported twice."),
        Cause(r"must be a date", "The value was typed by hand and not checked."),
        Cause(r"must be a number", "The value was typed wrong or stands in another unit."),
        Cause(r"must be in", "The row that it refers to was deleted or never written."),
        Cause(r"at the run before", "An import failed, ran twice or deleted rows."),
        Cause(r"no table|no column", "The tables were changed since the rule was written."),
    ),
    Check.PRICES: (
        Cause(r"fell by", "A mark or a digit of the price is in the wrong place."),
        Cause(r"fell by", "The supplier sells the item off."),
        Cause(r"rose by", "The supplier has raised the price."),
        Cause(r"rose by", "The item is now sold in a larger pack."),
        Cause(r"currency", "The list was exported for another country."),
        Cause(r"missing", "The supplier no longer sells the item, or has renamed it."),
    ),
}


def causes_of(check: Check, finding: Finding) -> tuple[str, ...]:
    """Sentences to choose among, in the order of the list; none where nothing in the finding speaks for any."""
    speaking = [cause for cause in CAUSES[check] if _speaks(cause, finding)][: MOST - MOST_OTHERS]
    others = [cause for cause in CAUSES[check] if not _speaks(cause, finding)][:MOST_OTHERS]
    return tuple(cause.sentence for cause in CAUSES[check] if cause in [*speaking, *others]) if speaking else ()


def spoken_for(check: Check, finding: Finding) -> Rule:
    """The rule for a chosen cause: something in the finding speaks for it."""
    good = {cause.sentence for cause in CAUSES[check] if _speaks(cause, finding)}
    return lambda text: [] if text.strip().strip('"') in good else ["nothing in the finding speaks for this cause"]


def _speaks(cause: Cause, finding: Finding) -> bool:
    return re.search(cause.evidence, finding.what, re.IGNORECASE) is not None
