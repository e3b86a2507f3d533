"""What rules can tell about a changed clause: which numbers, which duties, which words. Pure."""

import re
from collections import Counter

from blocks.checking.prose import NUMBER, Check
from blocks.reading.clauses import Change, plain

# Words that make or end a duty (after RFC 2119, and as contracts use them).
DUTY = re.compile(
    r"\b(?:must|shall|may|should|will|can|cannot|required|entitled|not|never|only|liable|waives?|free of charge)\b",
    re.IGNORECASE,
)
MOST_WORDS = 12
NEW, GONE, FIGURES, DUTIES, WORDS = "new clause", "clause is gone", "figures changed", "duties changed", "words changed"


BETTER, WORSE, SAME = "it is better for the customer", "it is worse for the customer", "it means the same"
EVIDENCE = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]{4,}")
MOST_EVIDENCE, MOST_DECOYS = 4, 2


def readings(old: str, new: str, *, is_open: bool) -> tuple[str, ...]:
    """How a change can be read, each with a word or figure that is to show it. `is_open`: it may mean the same."""
    changed, kept = _evidence(old, new)
    words = [*changed[:MOST_EVIDENCE], *kept[-MOST_DECOYS:]]
    shown = [word for word in EVIDENCE.findall(f"{plain(new)} {plain(old)}") if word in words]
    told = (BETTER, WORSE, SAME) if is_open else (BETTER, WORSE)
    return tuple(f"{reading}: {word}" for reading in told for word in dict.fromkeys(shown)) if changed else told


def reading_rule(old: str, new: str) -> Check:
    """The rule for such a reading: what is to show it did change."""
    kept = _evidence(old, new)[1]

    def check(text: str) -> list[str]:
        word = text.strip().strip('"').partition(": ")[2]
        return [f"{word!r} did not change"] if word in kept else []

    return check


def _evidence(old: str, new: str) -> tuple[list[str], list[str]]:
    """Words and figures of one text only, and those of both, in their order."""
    before, after = (dict.fromkeys(EVIDENCE.findall(plain(text))) for text in (old, new))
    changed = [word for word in {**after, **before} if (word in before) != (word in after)]
    return changed, [word for word in after if word in before]


def verdict(change: Change) -> str:
    """The gravest thing that rules see, with the figures or words that differ."""
    if change.old is None:
        return NEW
    if change.new is None:
        return GONE
    old, new = plain(change.old.text), plain(change.new.text)
    for name, pattern in ((FIGURES, NUMBER), (DUTIES, DUTY)):
        before, after = _found(pattern, old), _found(pattern, new)
        if before != after:
            return f"{name}: {_listed(before - after)} → {_listed(after - before)}"
    return WORDS


def _found(pattern: re.Pattern[str], text: str) -> Counter[str]:
    return Counter(word.lower() for word in pattern.findall(text))


def _listed(words: Counter[str]) -> str:
    """In their order, the first of many."""
    more = f" and {len(words) - MOST_WORDS} more" if len(words) > MOST_WORDS else ""
    return ", ".join([*words][:MOST_WORDS]) + more or "-"
