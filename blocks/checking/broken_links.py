"""Which links of a folder of pages lead nowhere. Pure."""

from collections.abc import Iterable
from enum import StrEnum

from blocks.checking.findings import Finding, fail, fine, named, warn
from governor.policy.facts import Fact

GONE = frozenset({404, 410})


class Leads(StrEnum):
    """Where a link leads."""

    THERE = "there"
    NO_FILE = "no_file"
    NO_HEADING = "no_heading"
    OUTSIDE = "outside"
    WEB = "web"
    OTHER = "other"


class Link(Fact):
    """One link of one page. `status`: of a web address that was looked at, None where it was not; 0: no answer."""

    page: str
    line: int
    target: str
    leads: Leads
    status: int | None = None
    problem: str = ""


class Links(Fact):
    """All links, and the pages that have them. `is_cut`: there are more pages."""

    pages: int
    links: tuple[Link, ...]
    unreadable: tuple[str, ...] = ()
    is_cut: bool = False


def judge(facts: Links) -> list[Finding]:
    """One finding a link that leads nowhere, and one for all others."""
    found = [finding for link in facts.links for finding in _of_link(link)]
    found += [warn(named(page), f"The page {named(page)} cannot be read, or is too long.") for page in facts.unreadable]
    found += [warn("all pages", f"Only the first {facts.pages} pages were read.")] if facts.is_cut else []
    web = [link for link in facts.links if link.leads is Leads.WEB]
    unseen = sum(link.status is None for link in web)
    good = sum(link.leads is Leads.THERE for link in facts.links)
    words = f"{good} links in {facts.pages} pages lead to a file that is there; of {len(web)} web links {unseen} were"
    return [*found, fine("all pages", f"{words} not looked at.", value=good)]


def _of_link(link: Link) -> Iterable[Finding]:
    where, target = named(f"{link.page}:{link.line}"), named(link.target)
    if link.leads is Leads.NO_FILE:
        yield fail(where, f"The link to {target} in {where} leads to no file.", value=target)
    elif link.leads is Leads.OUTSIDE:
        yield fail(where, f"The link to {target} in {where} leads out of the folder.", value=target)
    elif link.leads is Leads.NO_HEADING:
        yield warn(where, f"The link to {target} in {where} names a heading that is not there.", value=target)
    elif link.status in GONE:
        yield fail(where, f"The page {target} linked in {where} is gone, status {link.status}.", value=target)
    elif link.status is not None and not 200 <= link.status < 400:
        why = f"status {link.status}" if link.status else named(link.problem or "no answer")
        yield warn(where, f"The page {target} linked in {where} does not answer: {why}.", value=target)
