"""Whether a document and a program say the same about a name, as far as rules can tell. Pure.

MISSING and DIFFERS are the rules' own verdicts and stand whatever a model says; a model is asked only about the pairs.
"""

import re
from dataclasses import dataclass

from blocks.reading.claims import VERSION, Claim, Program, Quote

MISSING, DIFFERS, AGREES, NAMED = "missing in the code", "values differ", "agrees", "named in both"
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
    order = (MISSING, DIFFERS, NAMED, AGREES)
    return sorted(found, key=lambda d: (order.index(d.verdict), d.claim.said.path, d.claim.said.line, d.claim.name))


def _judged(claim: Claim, program: Program) -> Drift:
    if claim.kind == "file":
        known = any(name == claim.name or name.endswith(f"/{claim.name}") for name in program.files)
        return Drift(claim, AGREES if known else MISSING, None)
    places = program.where(claim)
    if not places:
        return Drift(claim, MISSING, program.nearest(claim))
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
