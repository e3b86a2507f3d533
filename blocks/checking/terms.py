"""What rules can tell about a changed clause: which numbers, which duties, which words. Pure."""

import re

from blocks.checking.prose import NUMBER
from blocks.reading.clauses import Change, plain

# Words that make or end a duty (after RFC 2119, and as contracts use them).
DUTY = re.compile(
    r"\b(?:must|shall|may|should|will|can|cannot|required|entitled|not|never|only|liable|waives?|free of charge)\b",
    re.IGNORECASE,
)
NEW, GONE, FIGURES, DUTIES, WORDS = "new clause", "clause is gone", "figures changed", "duties changed", "words changed"


def verdict(change: Change) -> str:
    """The gravest thing that rules see, with the figures or words that differ."""
    if change.old is None:
        return NEW
    if change.new is None:
        return GONE
    old, new = plain(change.old.text), plain(change.new.text)
    for name, pattern in ((FIGURES, NUMBER), (DUTIES, DUTY)):
        before, after = _found(pattern, old), _found(pattern, new)
        if sorted(before) != sorted(after):
            gone = [w for w in before if before.count(w) > after.count(w)]
            come = [w for w in after if after.count(w) > before.count(w)]
            return f"{name}: {', '.join(dict.fromkeys(gone)) or '-'} → {', '.join(dict.fromkeys(come)) or '-'}"
    return WORDS


def _found(pattern: re.Pattern[str], text: str) -> list[str]:
    return [word.lower() for word in pattern.findall(text)]
