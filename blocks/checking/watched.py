"""A look at logs or test runs: clusters with their trends and causes, what may be said of them, alarm and page.

Reading is `blocks.reading.logs` and `junit`, counting `blocks.checking.clusters` and `flaky`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from blocks.checking.causes import by_words
from blocks.checking.clusters import LEVELS, Cluster, Trend, clustered, compared, gone, measured
from blocks.checking.flaky import Health, unsound
from blocks.reading.earlier import History, Measured, with_now
from blocks.reading.junit import read_runs
from blocks.reading.logs import INFO, read_log
from blocks.untrusted import as_data
from blocks.writing.markdown import BY_RULES, byline, table
from governor.answers import Answer
from governor.errors import BadInput

SHOWN_CLUSTERS, SHOWN_GONE, SHOWN_UNREAD = 40, 10, 20
MARKS = {"passed": ".", "failed": "F", "skipped": "s"}
SENTENCE_CHARACTERS = 300


class Form(StrEnum):
    """What is watched."""

    LOG = "log"
    JUNIT = "junit"


class Level(StrEnum):
    """From which level on a cluster is an alarm."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    NEVER = "never"


class Wanted(Protocol):
    """Of the parameters of the agent, what is looked at here."""

    source: str
    form: Form
    pattern: str
    max_bytes: int
    max_runs: int


@dataclass(frozen=True)
class Watched:
    """One look. `lines`: read, of tests the runs. `tests`: id -> health, outcomes. `causes`: id -> kind of trouble.

    `left_out`: how many older runs of tests there are.
    """

    clusters: list[Cluster]
    lines: int
    sha256: str
    history: History
    cut: bool = False
    unread: dict[str, str] = field(default_factory=dict)
    tests: dict[str, tuple[Health, str]] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)
    left_out: int = 0


def watch(wanted: Wanted, folder: Path, day: str) -> Watched:
    """Read, cluster, and compare with the look before, which stands in the folder.

    Raises:
        BadInput: the source cannot be read, or `pattern` is no regular expression.
    """
    return _tests(wanted, folder, day) if wanted.form is Form.JUNIT else _log(wanted, folder, day)


def _log(wanted: Wanted, folder: Path, day: str) -> Watched:
    pattern, log = expression(wanted.pattern), read_log(wanted.source, max_bytes=wanted.max_bytes)
    records = [r for r in log.records if (pattern.search(r.text) if pattern else r.level != INFO)]
    clusters = clustered(records)
    now = Measured(day=day, inputs=log.sha256, values=measured(clusters, log.lines))
    history = with_now(folder, now, source=wanted.source)
    told = compared(clusters, history.before, log.lines)
    return Watched(told, log.lines, log.sha256, history, log.cut, log.unread, causes=_causes(told))


def _tests(wanted: Wanted, folder: Path, day: str) -> Watched:
    runs = read_runs(wanted.source, max_runs=wanted.max_runs, max_bytes=wanted.max_bytes)
    found = unsound(runs.cases)
    clusters = [cluster for cluster, _, _ in found]
    tests = {c.id: (state, "".join(MARKS[outcome] for outcome in outcomes)) for c, state, outcomes in found}
    now = Measured(day=day, inputs=runs.sha256, values=measured(clusters, len(runs.runs)))
    history = with_now(folder, now, source=wanted.source)
    told = compared(clusters, history.before, len(runs.runs))
    return Watched(
        told, len(runs.runs), runs.sha256, history, False, runs.unread, tests, _causes(told), left_out=runs.left_out
    )


def expression(pattern: str) -> re.Pattern[str] | None:
    """The lines that are wanted, None for those of a level worth a look.

    Raises:
        BadInput: it is no regular expression.
    """
    try:
        return re.compile(pattern) if pattern else None
    except re.error as error:
        raise BadInput(f"`pattern` is no regular expression: {error}.", remedy="Correct it in prefect.yaml.") from error


def _causes(clusters: Sequence[Cluster]) -> dict[str, str]:
    return {cluster.id: by_words(cluster.example) for cluster in clusters}


def with_causes(watched: Watched, answers: Sequence[Answer]) -> Watched:
    """The same with the kinds of trouble that a model chose well enough in place of the rules' own."""
    asked = zip(watched.clusters, answers, strict=False)
    chosen = {cluster.id: answer.data["kind"] for cluster, answer in asked if answer.verified}
    return replace(watched, causes={**watched.causes, **chosen})


def alarm_of(watched: Watched, at: Level) -> str:
    """What somebody should look at now; '' for nothing. A verdict of code alone."""
    if at is Level.NEVER:
        return ""
    high = [c for c in watched.clusters if LEVELS.index(c.level) <= LEVELS.index(at.value)]
    burst = [c for c in watched.clusters if c.trend is Trend.MORE and c not in high]
    told = [f"{c.count} x {as_data(c.template, 80)}" for c in [*high, *burst][:3]]
    counted = f"{len(high)} clusters at {at.value} or above, {len(burst)} much more than before"
    return f"{counted}: {'; '.join(told)}" if told else ""


def page(watched: Watched, answers: Sequence[Answer]) -> str:
    """Counts from code; a sentence beside those clusters that a model worded well enough."""
    parts = [_head(watched)]
    if watched.clusters:
        parts.append(table(_columns(watched), _rows(watched, answers)))
    left = len(watched.clusters) - SHOWN_CLUSTERS
    if left > 0:
        parts.append(f"{left} more clusters stand in clusters.json.")
    if lost := gone(watched.clusters, watched.history.before):
        parts.append("Gone since the last look:\n\n" + "\n".join(f"- `{_code(name)}`" for name in lost[:SHOWN_GONE]))
    if watched.unread:
        lines = [f"- {as_data(name, 100)}: {as_data(why, 200)}" for name, why in watched.unread.items()]
        more = [f"- {len(lines) - SHOWN_UNREAD} more files"] if len(lines) > SHOWN_UNREAD else []
        parts.append("Not read:\n\n" + "\n".join([*lines[:SHOWN_UNREAD], *more]))
    if watched.history.is_anew:
        parts.append("The source is another one than at the last look, so nothing is compared with that.")
    if watched.left_out:
        parts.append(f"{watched.left_out} older runs are left out (`max_runs`).")
    return "\n\n".join(parts)


def _head(watched: Watched) -> str:
    total = sum(cluster.count for cluster in watched.clusters)
    if watched.tests:
        flaky = sum(state is Health.FLAKY for state, _ in watched.tests.values())
        return f"{flaky} flaky tests and {len(watched.tests) - flaky} others that failed in {watched.lines} runs."
    cut = ", older ones left out" if watched.cut else ""
    if not watched.clusters:
        if watched.cut or watched.unread:
            return f"No record to report in {watched.lines} lines{cut}; not all was read. *({BY_RULES})*"
        return f"Nothing to report. *({BY_RULES})*"
    counted = f"{total} records in {len(watched.clusters)} clusters of {watched.lines} lines{cut}"
    return f"{counted}; counts and levels are code's, what and kind the model's where it says so."


def _columns(watched: Watched) -> list[str]:
    told = ["failed", "health", "runs", "test"] if watched.tests else ["count", "level", "since", "template"]
    return ["id", *told, "what", "kind", "by"]


def _rows(watched: Watched, answers: Sequence[Answer]) -> list[list[object]]:
    """Of a cluster that no model was asked about, or not well enough, the rules' own kind."""
    rows = []
    for place, cluster in enumerate(watched.clusters[:SHOWN_CLUSTERS]):
        answer = answers[place] if place < len(answers) else None
        what = as_data(answer.data["what"], SENTENCE_CHARACTERS) if answer is not None and answer.verified else ""
        by = byline(answer) if answer is not None else BY_RULES
        rows.append([cluster.id, *_facts(watched, cluster), what, watched.causes.get(cluster.id, ""), by])
    return rows


def _facts(watched: Watched, cluster: Cluster) -> list[object]:
    template = f"`{_code(cluster.template)}`"
    if watched.tests:
        state, outcomes = watched.tests[cluster.id]
        return [cluster.count, state.value, f"`{outcomes}`", template]
    since = cluster.trend.value or ("" if cluster.before is None else f"{cluster.before} before")
    return [cluster.count, cluster.level, since, template]


def _code(text: str) -> str:
    """Text that stays inside its backticks."""
    return as_data(text, 110).replace("`", "'")
