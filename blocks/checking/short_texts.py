"""Rules for the short texts beside a page: what a screen reader says for an image, what a search engine shows. Pure."""

import re

from blocks.checking.drafts import each_sentence_from, no_loop, no_markup
from blocks.checking.prose import Check, all_of, length, no_new_links, no_new_numbers
from blocks.reading.pieces import sentences_of

# What screen readers cut off at, and what search engines show of a title and a description.
ALT_CHARACTERS, TITLE_CHARACTERS, DESCRIPTION_CHARACTERS = 125, 60, 155
LEAST_ALT, LEAST_DESCRIPTION = 10, 50
# A screen reader has said "image" already.
OPENING = re.compile(
    r"^\W*(?:(?:an?|the)\s+)?(?:image|picture|photo|photograph|graphic|alt(?:ernative)?(?: text)?)\b", re.IGNORECASE
)
FILE = re.compile(r"\.(?:png|jpe?g|gif|webp|svg|avif)\b", re.IGNORECASE)


def alt_rule(known: str) -> Check:
    """One short line of the words that are known of the image."""
    return all_of(
        length(LEAST_ALT, ALT_CHARACTERS),
        one_line,
        no_markup,
        no_new_numbers(known),
        no_new_links(""),
        each_sentence_from(known, 0.75),
        lambda text: ["it begins with what everybody knows"] if OPENING.match(text.strip()) else [],
        lambda text: ["it names a file"] if FILE.search(text) else [],
    )


def description_rule(page: str) -> Check:
    """One line of the page's words that a search engine shows whole."""
    return all_of(
        length(LEAST_DESCRIPTION, DESCRIPTION_CHARACTERS),
        one_line,
        no_markup,
        no_loop,
        no_new_numbers(page),
        no_new_links(""),
        each_sentence_from(page, 0.75),
    )


def windows(text: str, most: int = 5) -> tuple[str, ...]:
    """Sentences of a page, alone or with those after them, that are as long as a description may be."""
    sentences, found = sentences_of(text), list[str]()
    for start in range(len(sentences)):
        for end in range(start + 1, min(start + 3, len(sentences)) + 1):
            joined = " ".join(sentences[start:end])
            if LEAST_DESCRIPTION <= len(joined) <= DESCRIPTION_CHARACTERS:
                found.append(joined)
    return tuple(dict.fromkeys(found))[:most]


def one_line(text: str) -> list[str]:
    """No line break inside."""
    return ["it has several lines"] if "\n" in text.strip() else []


def shortened(text: str, most: int) -> str:
    """At most so many characters, cut between words."""
    plain = " ".join(text.split())
    if len(plain) <= most:
        return plain
    return plain[: most - 1].rpartition(" ")[0].rstrip(" ,;:-") + "…"
