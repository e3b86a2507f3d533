"""Rules on commits in a text: each that is named is in the range. Pure."""

import re
from collections.abc import Set as AbstractSet

from blocks.checking.prose import Check

# Words of seven and more hexadecimal digits; one of letters alone (`defaced`) or of digits alone is hardly a commit's.
NAME = re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,64}\b")
# Words of texts that were written for a model to read, not for people.
ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget)\b.{0,40}\b(?:instruction|prompt|rule|above|previous)"
    r"|\b(?:system|assistant)\s*:|\byou are (?:now )?(?:a|an|the)\b|<\|",
    re.IGNORECASE,
)
FOREIGN = "(another commit)"


def foreign(text: str, shas: AbstractSet[str]) -> list[str]:
    """What looks like a commit's name and begins none of `shas`."""
    return [name for name in NAME.findall(text) if not any(sha.startswith(name) for sha in shas)]


def no_foreign_commits(shas: AbstractSet[str]) -> Check:
    """The rule for a model's sentence."""
    return lambda text: [f"the commit {name} is not in the range" for name in foreign(text, shas)]


def without_foreign(text: str, shas: AbstractSet[str]) -> str:
    """A text of outside, such as a subject, with other commits' names taken out."""
    for name in foreign(text, shas):
        text = text.replace(name, FOREIGN)
    return text


def gives_orders(text: str) -> bool:
    """Whether a text of outside speaks to a model: what it says is no news of the code."""
    return ORDERS.search(text) is not None


def one_line(text: str) -> str:
    """A list of short lines as one sentence, each of them once; a model that was asked for a sentence may list."""
    parts = (line.strip().strip("-*•`# ").rstrip(".;") for line in text.splitlines())
    return "; ".join(dict.fromkeys(part for part in parts if part)) + "."


def a_sentence(rule: Check, most: int = 300) -> Check:
    """The rule for a sentence, judged as `one_line` would show it; code and what is longer is none."""

    def check(text: str) -> list[str]:
        said = one_line(text)
        if "```" in text or len(said) > most:
            return ["it is no sentence"]
        return rule(said)

    return check
