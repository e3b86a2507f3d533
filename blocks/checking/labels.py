"""Labels and names by words alone: what speaks where no model's answer stands. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from blocks.checking.prose import stem
from blocks.reading.items import Item

WORD = re.compile(r"[^\W\d_]{3,}")
# Words of a description that name nothing.
EMPTY_WORDS = """the and for from with how who what that this its are was not new use using someone somebody asks about
into any der die das und ein eine les des une"""
EMPTY = frozenset(EMPTY_WORDS.split())
ItemT = TypeVar("ItemT", bound=Item)


def by_words(text: str, labels: Mapping[str, str]) -> str | None:
    """The label most of whose words stand in the text; None where there is none, or two have as many.

    Args:
        labels: label -> the words that name it, its description and any others.
    """
    said = stems(text)
    found = {label: len(stems(f"{label} {words}") & said) for label, words in labels.items()}
    most = max(found.values(), default=0)
    best = [label for label, count in found.items() if count == most]
    return best[0] if most and len(best) == 1 else None


def naming(items: Iterable[ItemT], words: Sequence[str]) -> list[ItemT]:
    """Those that contain one of the words or phrases as whole words, in any case; all where no words are given."""
    wanted = [re.escape(_folded(word)) for word in words if word.strip()]
    if not wanted:
        return list(items)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(wanted)})(?!\w)")
    return [item for item in items if pattern.search(_folded(f"{item.title} {item.text}"))]


def stems(text: str) -> set[str]:
    """The first letters of its words that name something."""
    return {stem(word) for word in WORD.findall(text.casefold()) if word not in EMPTY}


def _folded(text: str) -> str:
    """For comparing: case, width, and hyphens that nobody sees do not count."""
    return " ".join(unicodedata.normalize("NFKC", text).replace("\u00ad", "").casefold().split())
