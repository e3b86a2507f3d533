"""What a reviewer's rules find in the new lines of a diff, and how grave they take it. Pure; no model is asked.

A rule says that a line is worth a look, not that it is wrong.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blocks.checking.commits import ORDERS, gives_orders
from blocks.checking.prose import Check, all_of, length, no_new_links, no_new_numbers, words_from
from blocks.reading.diffs import Hunk
from blocks.reading.untested import UNNAMED, Gap
from blocks.untrusted import cut, plain_line

# From the least to the gravest.
SEVERITIES = ("low", "medium", "high")
# What a reader may note at a line; the last one is that there is nothing to note.
CONCERNS = (
    "odd or empty input may fail here",
    "an error is not handled",
    "a fixed value that should be a setting",
    "data from outside is trusted",
    "hard to understand",
    "nothing to note",
)
NOTHING = CONCERNS[-1]
# What a line must have for a concern about it; a line of none of this gives no reason for it.
REASONS = dict(
    zip(
        CONCERNS,
        (
            re.compile(r"\w[(\[]|[/%]"),
            re.compile(r"\w[(\[]|\b(?:raise|throw|except|catch)\b"),
            re.compile(r"\d|[\"'][^\"']+[\"']"),
            re.compile(
                r"(?:input|argv|env|request|param|query|form|body|payload|json|load|read|recv|text|data|user|url|path|file)",
                re.IGNORECASE,
            ),
            re.compile(
                r"^.{60}|^(?:[^()\[\]{}]*[()\[\]{}]){5}|\b(?:and|or|if|for|lambda)\b.*\b(?:and|or|if|for|lambda)\b"
            ),
            re.compile(""),
        ),
        strict=True,
    )
)
# A line that decides something: what a test would check.
DECIDES = re.compile(r"^(?:el)?(?:if|raise|return|for|while|with|try|assert)\b")
# Nothing to note at: comments, imports, decorators, brackets and texts alone on their line.
IDLE = re.compile(r"""^\s*(?:#|//|import\b|from\s.+\simport\b|@\w|[\])}([{,:]*$|[frb]{0,2}["'])""")
# What a line may be cut in is a secret, too: its end is the end of a value.
NAMED_SECRET = r"(?P<name>\b\w*(?:password|passwd|secret|token|api_?key|private_?key)\w*[\"']?\s*[:=]\s*)"
SECRET = re.compile(rf"{NAMED_SECRET}(?P<value>[\"'][^\"']{{4,}}(?:[\"']|$))", re.IGNORECASE)
# In files of settings a value needs no quotes; `$NAME`, `{{ name }}` and `<name>` are none, and what is read elsewhere.
BARE_SECRET = re.compile(
    rf"{NAMED_SECRET}(?P<value>(?![\"'$<>{{\[|&*!]|(?:null|none|true|false|\[secret\])\b)[^\s#]{{4,}})", re.IGNORECASE
)
SETTINGS = (".yaml", ".yml", ".ini", ".cfg", ".conf", ".properties", ".env")
# Where every value may be one.
ENVIRONMENT = re.compile(r"(?:^|/)\.env(?:\.[\w.-]+)?$")
ASSIGNED = re.compile(r"^(?P<name>\s*(?:export\s+)?[\w.-]+\s*=\s*)(?P<value>\S.*)$")
KEY_SHAPES = re.compile(r"AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|xox[abp]-[A-Za-z0-9-]{10,}")
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
# What a prompt shows of a hunk: a small model loses the thread of more.
MOST_LINES, MOST_LINE = 14, 100
# More of a line than is shown is looked through for secrets.
MOST_SECRET = 300
ORDERS_RULE = "orders"
DOCUMENTS = (".md", ".rst", ".txt", ".json", ".lock", ".csv", ".svg")


@dataclass(frozen=True)
class Rule:
    """A pattern of lines worth a look. `what`: in words, for people and for the model that grades a line."""

    name: str
    severity: str
    pattern: re.Pattern[str]
    what: str


def _rule(name: str, severity: str, pattern: str, what: str) -> Rule:
    return Rule(name, severity, re.compile(pattern, re.IGNORECASE), what)


# After the patterns of Bandit (B1xx-B6xx) and OWASP's list of dangerous calls. The first that fits a line counts.
RULES = (
    Rule("secret", "high", SECRET, "a password or key stands in the code"),
    Rule("key", "high", KEY_SHAPES, "a key of a service stands in the code"),
    Rule("private-key", "high", PRIVATE_KEY, "a private key stands in the code"),
    _rule("eval", "high", r"(?<![\w.])(?:eval|exec)\(", "text is run as code"),
    _rule("shell", "high", r"shell\s*=\s*True|os\.system\(|os\.popen\(", "a command goes through the shell"),
    _rule("unpickle", "high", r"(?:pickle|marshal|shelve|dill)\.(?:loads?|open)\(", "data from outside is unpickled"),
    _rule("yaml", "medium", r"yaml\.(?:unsafe_)?load\((?!.*SafeLoader)", "YAML is loaded with all its types"),
    _rule(
        "unverified",
        "high",
        r"verify\s*=\s*False|_create_unverified_context|CERT_NONE|curl\s+(?:.*\s)?(?:-k|--insecure)\b",
        "the certificate is not verified",
    ),
    _rule(
        "sql",
        "high",
        r"(?:execute\w*\(\s*f[\"']|execute\w*\([^)]*[\"']\s*(?:%|\+|\.format)|f[\"']\s*(?:SELECT|INSERT|UPDATE|DELETE)\b)",
        "SQL is built from text",
    ),
    _rule("weak-hash", "medium", r"(?:hashlib\.)?\b(?:md5|sha1)\(", "a weak hash is used"),
    _rule("open-to-all", "medium", r"chmod\s+(?:-R\s+)?0?777|chmod\([^)]*0o777", "a file is open to everybody"),
    _rule("all-interfaces", "low", r"[\"']0\.0\.0\.0[\"']", "the service listens everywhere"),
    _rule("temp-name", "low", r"tempfile\.mktemp\(", "a temporary name can be guessed"),
    _rule("path", "medium", r"open\([^)]*[\"']\s*\+\s*\w+|open\(\s*\w+\s*\+", "a path is built from text"),
    _rule("random", "low", r"\brandom\.(?:random|choice|randint)\(.*(?:token|password|key)", "chance can be guessed"),
    Rule(ORDERS_RULE, "medium", ORDERS, "a text that gives orders to a model"),
    _rule("debug", "low", r"debug\s*=\s*True", "debugging is switched on"),
)


@dataclass(frozen=True)
class Finding:
    """A line worth a look. `severity`: the rule's; `what`: why."""

    path: str
    line: int
    severity: str
    rule: str
    what: str
    text: str

    @property
    def place(self) -> str:
        """File and line, as editors open it."""
        return f"{self.path}:{self.line}"


def findings_of(hunks: Iterable[Hunk]) -> list[Finding]:
    """What the rules find in added lines, the gravest first, then by place; text files of words are not code."""
    found = [
        Finding(hunk.path, line.number or 0, rule.severity, rule.name, rule.what, code_line(line.text, hunk.path, 300))
        for hunk in hunks
        if not hunk.path.endswith(DOCUMENTS)
        for line in hunk.added
        if (rule := _rule_for(line.text, hunk.path)) is not None
    ]
    return sorted(set(found), key=lambda f: (-SEVERITIES.index(f.severity), f.path, f.line))


def _rule_for(text: str, path: str) -> Rule | None:
    """The first that fits; what is not seen in a line hides nothing."""
    seen = plain_line(text, len(text))
    if _is_settings(path) and BARE_SECRET.search(seen):
        return RULES[0]
    return next((rule for rule in RULES if rule.pattern.search(text) or rule.pattern.search(seen)), None)


def _is_settings(path: str) -> bool:
    return path.endswith(SETTINGS) or ENVIRONMENT.search(path) is not None


def masked(text: str, path: str = "") -> str:
    """A line of a file without its secrets: a review that quotes a password spreads it."""
    patterns = [
        SECRET,
        *([BARE_SECRET] if _is_settings(path) else []),
        *([ASSIGNED] if ENVIRONMENT.search(path) else []),
    ]
    for pattern in patterns:
        text = pattern.sub(lambda found: f"{found['name']}[secret]", text)
    return KEY_SHAPES.sub("[key]", text)


def lines_to_show(hunk: Hunk) -> dict[int, str]:
    """Line numbers and new lines of a hunk of code as a prompt shows them; none of a file of words.

    What speaks to a model is left out: a rule of its own reports it.
    """
    if hunk.path.endswith(DOCUMENTS):
        return {}
    wanted = [line for line in hunk.added if not IDLE.match(line.text) and not gives_orders(line.text)]
    return {line.number: code_line(line.text, hunk.path) for line in wanted[:MOST_LINES] if line.number is not None}


def readable(hunks: Iterable[Hunk]) -> list[tuple[str, dict[int, str]]]:
    """Path and lines of the hunks that can be read as code, those with the most new lines first, then by place."""
    found = [(hunk.path, lines) for hunk in hunks if (lines := lines_to_show(hunk))]
    return sorted(found, key=lambda hunk: (-len(hunk[1]), hunk[0], min(hunk[1])))


def untested(gap: Gap) -> Finding:
    """A function without a test for its change: graver where no test names it at all."""
    severity = SEVERITIES[1] if gap.what == UNNAMED else SEVERITIES[0]
    return Finding(gap.path, gap.line, severity, "untested", gap.what, f"def {gap.name}")


def code_line(text: str, path: str = "", most: int = MOST_LINE) -> str:
    """A line of a file for a prompt: as it stands, without secrets and without what a model takes for its own marks.

    Secrets go before the line is cut: of half a secret nobody sees that it is one.
    """
    return cut(masked(plain_line(text, most + MOST_SECRET), path), most)


def note_rule(source: str) -> Check:
    """The rule for an answer with a `note`: in words of the code it is about, without new numbers, links and loops."""
    words = all_of(length(8, 160), no_new_numbers(source), no_new_links(source), words_from(source, 0.5), _no_loop)
    return lambda text: words(json.loads(text)["note"])


def concern_rule(lines: Mapping[int, str]) -> Check:
    """The rule for a concern at one of these lines: the line gives a reason for it."""

    def check(text: str) -> list[str]:
        said = json.loads(text)
        fits = REASONS[said["concern"]].search(lines[said["line"]])
        return [] if fits else [f"line {said['line']} gives no reason for {said['concern']!r}"]

    return check


def decision_rule(lines: Iterable[str]) -> Check:
    """The rule for the line that a test should check first: where some decide something, it is one of them."""
    some = any(DECIDES.match(line) for line in lines)
    return lambda text: [] if not some or DECIDES.match(text.strip().strip('"')) else [f"{text!r} decides nothing"]


def _no_loop(text: str) -> list[str]:
    """Small models run in circles."""
    words = text.lower().split()
    return [] if len(set(words)) * 3 >= len(words) * 2 else ["it repeats itself"]


def grade_schema() -> dict[str, Any]:
    """The form of a grade: a note in words of one's own, and a severity."""
    return _object({"note": {"type": "string", "minLength": 8, "maxLength": 120}, "severity": {"enum": [*SEVERITIES]}})


def note_schema(lines: Sequence[int]) -> dict[str, Any]:
    """The form of what a reader notes at a hunk: at one of these lines, one of the concerns, and a severity."""
    return _object({"line": {"enum": [*lines]}, "concern": {"enum": [*CONCERNS]}, "severity": {"enum": [*SEVERITIES]}})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
