"""The last gate before a page is stored or shown: markdown that cannot run, load or mislead. Pure.

A page is softened where it must be, then read by a real parser. What the parser still finds is softened without
believing in its code spans; and a page that is not proven safe then is shown as it is, as code.
"""

import re
from collections.abc import Set as AbstractSet

from blocks.untrusted import seen
from blocks.writing.markdown_proof import Allowed, Found, examine

LEFT_OUT = "[address left out]"
# A page of more than this is a mistake; its end is not shown.
MOST_CHARACTERS = 400_000
# The parser takes quadratic time for brackets and backticks that match nothing: no page of ours has so many.
MOST_BRACKETS = 10_000
MOST_BACKTICKS = 20_000
# What one step leaves over (a link that another one's end makes) the next one finds; more is somebody's game.
MOST_STEPS = 8
# Nobody quotes or nests deeper; parsers take long for it.
MOST_MARKS = 6
MOST_OF_A_MARK = 16
# Entities that stand for markup of HTML and stay what they are; others could hide an address.
PLAIN_ENTITIES = frozenset({"lt", "gt", "amp", "quot", "apos", "nbsp"})
NEST = re.compile(rf"((?:[ \t]*(?:>|[-+*](?=[ \t])|\d{{1,9}}[.)](?=[ \t]))){{{MOST_MARKS}}})[\s>+*.)\d-]*")
ACTIVE = re.compile(
    r"\\(?P<escaped>[!-/:-@\[-`{-~])"
    r"|&(?P<entity>\#?\w{1,40});"
    r"|(?P<image>!(?=\[))"
    r"|\]\((?P<to>(?:[^\s()<>\[\]\\]|\([^\s()<>\[\]\\]*\))*)\)"
    r"|\](?P<onward>[(:])"
    r"|<(?P<auto>https?://[^\s<>]{1,2000})>"
    r"|(?P<html><(?=[A-Za-z/!?]))"
    r"|(?P<address>(?:(?:https?|ftp)\\?:(?:\\?/)+|(?<![A-Za-z0-9])www\\?\.)(?:(?!\]\()[^\s<`])*)"
    rf"|(?P<marks>(?P<mark>[\[*_~!(])(?P=mark){{{MOST_OF_A_MARK},}})",
    re.IGNORECASE,
)
ADDRESS_LIKE = re.compile(r"(?:https?|ftp)\\?:|www\\?\.", re.IGNORECASE)
BACKTICKS = re.compile("`+")


def tame(markdown: str, *, links: AbstractSet[str]) -> str:
    """The page with nothing in it but text, tables, lists, code and links to addresses in `links`.

    A page that holds nothing else comes out as it is; one that was tamed is tame.
    """
    text, allowed = seen(markdown[:MOST_CHARACTERS]), Allowed.of(links)
    strict = False
    if text.count("[") > MOST_BRACKETS or text.count("`") > MOST_BACKTICKS:
        return _as_code(text)
    for _ in range(MOST_STEPS):
        found = examine(text, allowed)
        softer = _softened(text, found, allowed, strict=strict)
        if softer == text and not found.forbidden:
            return text
        strict = softer == text
        text = softer
    return _as_code(text)


def _softened(text: str, found: Found, allowed: Allowed, *, strict: bool) -> str:
    """Each line on its own. `strict`: of the lines that the parser refused, nothing is taken for code."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if number in found.code:
            continue
        if number in found.unclosed:
            line = re.sub(r"[`~]", r"\\\g<0>", line)
        if strict and number in found.forbidden:
            line = re.sub(r"(?<!\\)[`<\[:]", r"\\\g<0>", line)
        lines[number] = _line(line, allowed)
    return "\n".join(lines)


def _line(line: str, allowed: Allowed) -> str:
    line, at, parts = NEST.sub(r"\1 ", line, count=1) if NEST.match(line) else line, 0, list[str]()
    for begin, end in _code_spans(line):
        # A viewer may take an address and the code after it for one address.
        before = line[at:begin]
        gap = " " if before and not before[-1].isspace() and ADDRESS_LIKE.search(before.split()[-1]) else ""
        parts += [_text(before, allowed), gap, line[begin:end]]
        at = end
    return "".join([*parts, _text(line[at:], allowed)])


def _code_spans(line: str) -> list[tuple[int, int]]:
    """Where code spans of this line would be: from a run of backticks to the next one as long."""
    runs = [(found.start(), found.end()) for found in BACKTICKS.finditer(line)]
    later: dict[int, list[int]] = {}
    for index in range(len(runs) - 1, -1, -1):
        later.setdefault(runs[index][1] - runs[index][0], []).append(index)
    spans, index = list[tuple[int, int]](), 0
    while index < len(runs):
        begin, end = runs[index]
        same = later[end - begin]
        while same and same[-1] <= index:
            same.pop()
        is_escaped = (len(line[:begin]) - len(line[:begin].rstrip("\\"))) % 2 == 1 if begin else False
        if same and not is_escaped:
            spans.append((begin, runs[same[-1]][1]))
            index = same[-1]
        index += 1
    return spans


def _text(text: str, allowed: Allowed) -> str:
    """Text outside of code, with what would be active in it made text."""

    def soften(found: re.Match[str]) -> str:
        kind, said = found.lastgroup or "", found[0]
        match kind:
            case "entity":
                return said if found["entity"].lower() in PLAIN_ENTITIES else f"&amp;{said[1:]}"
            case "image":
                return ""
            case "to":
                return said if allowed(found["to"]) else "]"
            case "onward":
                return f"]\\{found['onward']}"
            case "auto":
                return said if allowed(found["auto"]) else LEFT_OUT
            case "html":
                return "&lt;"
            case "address":
                return said if allowed.bare(said) else LEFT_OUT
            case "mark" | "marks":
                return found["mark"] * MOST_OF_A_MARK
            case _:
                return said

    return ACTIVE.sub(soften, text)


def _as_code(text: str) -> str:
    """All of it as one block of code, in which nothing is active."""
    fence = "~" * MOST_OF_A_MARK
    inside = re.sub(r"~{8,}", "~~~~", text.removeprefix(f"{fence}\n").removesuffix(f"\n{fence}"))
    return f"{fence}\n{inside}\n{fence}"
