"""Rules that an answer must pass before it is called verified. Each returns what is wrong, [] when nothing is."""

import re
from collections.abc import Callable

from blocks.untrusted import cut

Check = Callable[[str], list[str]]

NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
# A name with dots that ends in letters, as hosts and file names do.
HOST = re.compile(r"\b(?:[a-z0-9-]+\.)+[a-z]{2,}\b", re.IGNORECASE)
WORD = re.compile(r"[^\W\d_]{4,}")
# Words are compared by their first letters, so that `closes` matches `closed`.
STEM_LETTERS = 5


def all_of(*checks: Check) -> Check:
    """Every problem of every check."""
    return lambda text: [problem for check in checks for problem in check(text)]


def length(least: int, most: int) -> Check:
    """Length in characters."""
    return lambda text: [] if least <= len(text.strip()) <= most else [f"{len(text.strip())} characters long"]


def no_new_numbers(source: str) -> Check:
    """Every number stands in the source: a wrong figure is worse than none."""
    known = set(NUMBER.findall(source))
    return lambda text: [f"the number {n} is not in the source" for n in NUMBER.findall(text) if n not in known]


def no_new_links(source: str) -> Check:
    """Every link stands in the source, whole: the beginning of one is another one."""
    known = set(_links(source))
    return lambda text: [f"the link {url} is not in the source" for url in _links(text) if url not in known]


def no_new_hosts(source: str) -> Check:
    """Every name of a host stands in the source, whole: many programs make a link of `bank.example`."""
    known = {host.lower() for host in HOST.findall(source)}
    return lambda text: [f"the host {h} is not in the source" for h in HOST.findall(text) if h.lower() not in known]


def words_from(source: str, share: float = 0.7) -> Check:
    """At least this share of the longer words stands in the source, by stem: prose that drifts off is caught."""
    known = {stem(word) for word in WORD.findall(source)}

    def check(text: str) -> list[str]:
        words = WORD.findall(text)
        found = sum(stem(word) in known for word in words)
        return [] if words and found >= share * len(words) else [f"only {found} of {len(words)} words are the source's"]

    return check


def faithful(source: str, *, most: int = 400) -> Check:
    """The rules for a summary: short, and nothing in it that the source does not say."""
    says_it = (no_new_numbers(source), no_new_links(source), no_new_hosts(source), words_from(source))
    return all_of(length(20, most), *says_it)


def first_sentence(text: str, most: int = 240) -> str:
    """What stands in for a summary that did not pass: the source's own first sentence."""
    sentence = re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0]
    return sentence if len(sentence) <= most else cut(sentence, most - 1) + "…"


def _links(text: str) -> list[str]:
    """The links of a text, without the marks that end the sentence around them."""
    return [url.rstrip(".,;:!?)]}>'\"") for url in LINK.findall(text)]


def stem(word: str) -> str:
    """The first letters of a word, by which its forms are the same: `closes` and `closed`."""
    return word.lower()[:STEM_LETTERS]
