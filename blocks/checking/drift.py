"""Whether a document and a program say the same about a name, as far as rules can tell. Pure.

MISSING and DIFFERS are the rules' own verdicts and stand whatever a model says; a model is asked only about the pairs.
What was not looked at is never missing.
"""

import re
from dataclasses import dataclass

from blocks.checking.prose import WORD, Check
from blocks.reading.claims import NOT_LOOKED_AT, VERSION, Claim, Program, Quote

MISSING, DIFFERS, AGREES, NAMED = "missing in the code", "values differ", "agrees", "named in both"
NOT_LOOKED_UP = "not looked up"
# How a reader may take a pair.
AGREE, CONTRADICT, UNRELATED = "they agree", "they contradict each other", "they are about different things"
# A value: a number that is no part of a name, or what stands in a cell or quotes.
VALUE = re.compile(r"(?<![\w.-])\d+(?:\.\d+)*(?![\w-])")
# A default in a line of code, the surest form first: a keyword, the last of some arguments, a plain assignment.
DEFAULTS = tuple(
    re.compile(pattern)
    for pattern in (r"\bdefault\s*=\s*([^,)]+)", r",\s*[\"']([^\"']+)[\"']\s*\)", r"^\s*\w+\s*=\s*[\"']?([^\"'#()]+)")
)


@dataclass(frozen=True)
class Drift:
    """A claim, the rules' verdict, and the line of the code that it is held against (None: there is no such line)."""

    claim: Claim
    verdict: str
    code: Quote | None

    @property
    def is_wrong(self) -> bool:
        """Whether the rules say so by themselves."""
        return self.verdict in {MISSING, DIFFERS}


def drifts(claims: list[Claim], program: Program) -> list[Drift]:
    """Every claim with its verdict: what is wrong first, then what rules cannot decide; by place within these."""
    found = [_judged(claim, program) for claim in claims]
    order = (MISSING, DIFFERS, NAMED, NOT_LOOKED_UP, AGREES)
    return sorted(found, key=lambda d: (order.index(d.verdict), d.claim.said.path, d.claim.said.line, d.claim.name))


def reading_rule(name: str, said: str, held: str) -> Check:
    """The rule for how somebody reads two lines that both name something: by the numbers and words they share."""
    said, held = said.replace(name, " "), held.replace(name, " ")
    numbers = [set(VALUE.findall(text)) for text in (said, held)]
    shared = {word.lower() for word in WORD.findall(said)} & {word.lower() for word in WORD.findall(held)}
    differ = all(numbers) and numbers[0].isdisjoint(numbers[1])
    wrong = {
        AGREE: "no number of one stands in the other" if differ else "",
        CONTRADICT: "" if differ or (shared and numbers[0] != numbers[1]) else "nothing that both speak of differs",
        UNRELATED: "they share words" if len(shared) > 1 else "",
    }
    return lambda text: [problem for problem in [wrong.get(text.strip().strip('"'), "")] if problem]


def _judged(claim: Claim, program: Program) -> Drift:
    if claim.kind == "file":
        known = any(name == claim.name or name.endswith(f"/{claim.name}") for name in program.files)
        return Drift(claim, AGREES, None) if known else _missing(claim, program)
    places = program.where(claim)
    if not places:
        return _missing(claim, program)
    if claim.kind == "function":
        return Drift(claim, AGREES, places[0])
    if claim.kind == "version":
        return _version(claim, places[0])
    said = _values(claim.said.text, claim.name)
    held = [(place, _default(place.text)) for place in places]
    held = [(place, value) for place, value in held if value]
    if not said or not held:
        return Drift(claim, NAMED, places[0])
    agreeing = next((place for place, value in held if value in said), None)
    if agreeing is not None:
        return Drift(claim, AGREES, agreeing)
    # A table of settings says a default in so many cells; in prose a number may be about anything.
    sure = "|" in claim.said.text
    return Drift(claim, DIFFERS if sure else NAMED, held[0][0])


def _missing(claim: Claim, program: Program) -> Drift:
    """What stands nowhere; who did not look everywhere, or not for such a thing, cannot say that."""
    seen = program.seen.get(claim.name) if claim.kind == "function" else None
    if seen is not None:
        return Drift(claim, NAMED, seen)
    unseen = claim.kind == "file" and not NOT_LOOKED_AT.isdisjoint(claim.name.split("/"))
    if program.unread or unseen or claim.kind == "version":
        return Drift(claim, NOT_LOOKED_UP, None)
    return Drift(claim, MISSING, program.nearest(claim))


def _version(claim: Claim, place: Quote) -> Drift:
    said = {number for _, number in VERSION.findall(claim.said.text)}
    return Drift(
        claim, AGREES if said & set(VALUE.findall(place.text)) or said & _loose(place.text) else DIFFERS, place
    )


def _loose(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)+", text))


def _values(line: str, name: str) -> set[str]:
    """What a document's line could mean by the value of a name: its numbers and the cells of its table."""
    cells = {cell.strip(" `") for cell in line.split("|")} if "|" in line else set()
    return (cells | set(VALUE.findall(line))) - {"", name}


def _default(line: str) -> str:
    """The default that a line of code gives, '' where it gives none."""
    found = next((match[1] for pattern in DEFAULTS if (match := pattern.search(line))), "")
    return found.strip(" \"'")
