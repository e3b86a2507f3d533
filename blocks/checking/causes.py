"""What kind of trouble a log line speaks of, by its words, and whether a choice among the kinds can be right. Pure."""

import json
import re
from typing import Any

from blocks.checking.prose import Check

# Kind -> the words that speak for it. Of several kinds the one with most words counts, of equals the first.
CAUSES = {
    "network": r"tim(?:ed|ing) out|timeout|connection|connect\b|refused|unreachable|reset by peer|dns"
    r"|resolv\w+|handshake|socket|no route|packet|link is down|carrier",
    "database": r"deadlock|sql\w*|quer(?:y|ies)|database|\bdb\b|relation|lock wait|replica\w*|transaction"
    r"|postgres|index corrupt\w*|constraint|cursor|wal\b|checkpoint\w*",
    "storage": r"disk|no space|inode\w*|file ?system|read-only|i/o|quota|is full|sector\w*|raid|smart"
    r"|write failed|ext4|nvme",
    "memory": r"memory|\boom\b|heap|out of memory|evicted|swap\b|allocat\w+|gc pause|memoryerror",
    "access": r"permission\w*|denied|unauthori[sz]ed|forbidden|password|login|token|certificate"
    r"|authentication|expired|invalid user|sudo|\b40[13]\b|credential\w*|signature",
    "request": r"not found|invalid|malformed|bad request|parse\w*|unexpected|validation|unknown field"
    r"|missing (?:field|parameter)|too (?:large|many)|rate limit\w*"
    r"|\b(?:400|404|405|410|413|415|422|429)\b|unsupported",
    "upstream": r"gateway|upstream|service unavailable|provider|third.party|\b50[234]\b|answered 5|bounced"
    r"|smtp|webhook|api\.|partner|slow request",
    "code": r"keyerror|typeerror|attributeerror|valueerror|indexerror|zerodivision\w*|nullpointer\w*"
    r"|assertion\w*|assert\b|out of range|undefined|nonetype|traceback|unhandled|\b500\b"
    r"|recursion\w*|segfault|core dumped|illegalstate\w*|expected",
    "system": r"exit(?:ed)? (?:code|with|status)|failed with result|restart\w*|temperature|thermal|clock"
    r"|throttl\w+|watchdog|start(?:-limit| request)|killed|cron|systemd|kernel|fan\b|usb",
}
WORDS = {cause: re.compile(rf"(?<![\w])(?:{words})", re.IGNORECASE) for cause, words in CAUSES.items()}
UNKNOWN = "code"
MOST_KINDS, LEAST_DECOYS = 3, 2
MOST_PHRASES, LEAST_PHRASE, MOST_PHRASE = 3, 8, 160
HEAD = re.compile(r"^(?:CRITICAL|FATAL|ERROR|WARNING|WARN|ALERT)\s*:?\s*(?:\[[\w.-]{1,40}\]\s*)?")


def speaks_for(text: str) -> dict[str, int]:
    """How many words of the text speak for each kind; those without any are left out."""
    counted = {cause: len(pattern.findall(text)) for cause, pattern in WORDS.items()}
    return {cause: count for cause, count in counted.items() if count}


def by_words(text: str) -> str:
    """The kind that most words speak for; of equals the first, UNKNOWN where none does."""
    counted = speaks_for(text)
    return max(counted, key=lambda cause: counted[cause]) if counted else UNKNOWN


def kinds_for(text: str) -> tuple[str, ...]:
    """The kinds that a model may choose among: those that words speak for, and some that none does."""
    counted = speaks_for(text)
    rest = [cause for cause in CAUSES if cause not in counted]
    wanted = {*sorted(counted, key=lambda cause: -counted[cause])[:MOST_KINDS], *rest[1 : 1 + LEAST_DECOYS]}
    return tuple(cause for cause in CAUSES if cause in wanted)


def phrases(text: str) -> tuple[str, ...]:
    """Pieces of a line that may say what went wrong, as written: its clauses without level, source and ids alone."""
    bare = HEAD.sub("", " ".join(text.split()), count=1)
    pieces = [piece.strip(" .,;:|") for piece in re.split(r" \| |; |: (?=[A-Za-z'])|, (?=[a-z])", bare)]
    told = [p for p in pieces if LEAST_PHRASE <= len(p) <= MOST_PHRASE and len(re.findall("[A-Za-z]{3,}", p)) > 1]
    return tuple(dict.fromkeys([*told[:MOST_PHRASES], bare[:MOST_PHRASE].strip()]))[: MOST_PHRASES + 1]


def choice_of(text: str) -> dict[str, Any]:
    """A JSON schema: the piece of the line that says what went wrong, and what kind of trouble that is."""
    enums = {"what": phrases(text), "kind": kinds_for(text)}
    return {
        "type": "object",
        "properties": {name: {"type": "string", "enum": list(values)} for name, values in enums.items()},
        "required": list(enums),
        "additionalProperties": False,
    }


def rule_for(text: str) -> Check:
    """The rule for such a choice: the piece stands in the line and says something; for no other kind speak more words.

    So a model decides where words do not: with kinds that it chose against the words' majority it was right less often
    than the words (`tests.benchmarks.fleet_quality`).
    """
    plain, counted = " ".join(text.split()), speaks_for(text)
    telling = [phrase for phrase in phrases(text) if speaks_for(phrase)]

    def check(said: str) -> list[str]:
        told = json.loads(said)
        what, kind = told["what"], told["kind"]
        problems = [] if what in plain else [f"{what!r} is not in the line"]
        if telling and not speaks_for(what):
            problems.append(f"{what!r} says nothing of what went wrong")
        if counted and counted.get(kind, 0) < max(counted.values()):
            problems.append(f"more words of the line speak for another kind than {kind!r}")
        return problems

    return check
