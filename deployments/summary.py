"""What a first round came to: one outcome per agent, the table, and the exit status.

Pure, but for the drawing. Running the round is left to `deployments.first_round`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from textwrap import shorten
from typing import Literal

from rich.markup import escape
from rich.table import Table

from deployments.status import short_path
from deployments.view import STATE_STYLE

# Issue-given rule of a good first round: at least nine of ten agents wrote an output.
WRITTEN_SHARE = 0.9
# Three lines of the table; the whole message stands in the flow run's log.
REASON_CHARACTERS = 160
State = Literal["written", "could_not", "skipped", "failed", "unfinished"]


@dataclass(frozen=True)
class Outcome:
    """How one agent's run of the round ended.

    skipped means that it left the line for lack of time, failed also crashed or cancelled,
    unfinished that the round ended first. Seconds are those of its own run. `calls_first` are the requests that were
    verified at the first try, `calls_later` those after a retry or by a larger model. `recorded` is False when
    the run never came as far as to write its own record, `crashed` tells that from a failure.
    """

    agent: str
    state: State
    calls_model: int = 0
    calls_rules: int = 0
    calls_remembered: int = 0
    calls_first: int = 0
    calls_later: int = 0
    line_seconds: float = 0.0
    desk_seconds: float = 0.0
    output_path: str | None = None
    message: str | None = None
    ended_at: datetime | None = None
    recorded: bool = True
    crashed: bool = False


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """0 when nothing failed, crashed, was skipped for lack of time or stayed unfinished, and 90% wrote."""
    counts = Counter(outcome.state for outcome in outcomes)
    spoiled = counts["failed"] + counts["skipped"] + counts["unfinished"]
    enough = bool(outcomes) and counts["written"] >= WRITTEN_SHARE * len(outcomes)
    return 0 if enough and not spoiled else 1


def verdict(outcomes: Sequence[Outcome]) -> str:
    """Why the exit status is what it is, in one sentence."""
    if not outcomes:
        return "No agent ran: no deployment carries the tag `agent`."
    counts = Counter(outcome.state for outcome in outcomes)
    share = f"{counts['written']} of {len(outcomes)} agents wrote an output"
    if exit_code(outcomes) == 0:
        return f"{share}; nothing failed, nothing was skipped."
    spoiled = [f"{counts[state]} {state}" for state in ("failed", "skipped", "unfinished") if counts[state]]
    missing = [] if counts["written"] >= WRITTEN_SHARE * len(outcomes) else [f"fewer than {WRITTEN_SHARE:.0%} wrote"]
    return f"{share}; the round does not count as good: {', '.join(spoiled + missing)}."


def totals(outcomes: Sequence[Outcome]) -> str:
    """The line under the table."""
    counts = Counter(outcome.state for outcome in outcomes)
    states = ", ".join(
        f"{counts[state]} {word}"
        for state, word in (("written", "written"), ("could_not", "could-not"), ("skipped", "skipped"))
    )
    lost = counts["failed"] + counts["unfinished"]
    return (
        f"{states}, {lost} failed; calls verified with the model's own text {sum(o.calls_model for o in outcomes)},"
        f" by rules only {sum(o.calls_rules for o in outcomes)};"
        f" {sum(o.line_seconds for o in outcomes):.0f} s in line,"
        f" {sum(o.desk_seconds for o in outcomes):.0f} s at the desk"
    )


def first_output(outcomes: Sequence[Outcome], started_at: datetime) -> str:
    """How long a newcomer waited for the first output, '' when there was none."""
    seconds = first_output_seconds(outcomes, started_at)
    return "" if seconds is None else f"first output after {seconds:.0f} s"


def first_output_seconds(outcomes: Sequence[Outcome], started_at: datetime) -> float | None:
    """The same in seconds, None when there was none."""
    ends = [outcome.ended_at for outcome in outcomes if outcome.state == "written" and outcome.ended_at]
    return round((min(ends) - started_at).total_seconds(), 1) if ends else None


def table(outcomes: Sequence[Outcome]) -> Table:
    """One row per agent."""
    drawn = Table(title="first round", title_justify="left", expand=True)
    drawn.add_column("agent", no_wrap=True, min_width=14)
    drawn.add_column("state", no_wrap=True)
    for head in ("model", "rules", "line s", "desk s"):
        drawn.add_column(head, justify="right", no_wrap=True)
    drawn.add_column("output or reason", overflow="fold", ratio=1)
    for outcome in outcomes:
        style = STATE_STYLE.get(outcome.state, "red")
        drawn.add_row(
            escape(outcome.agent),
            f"[{style}]{outcome.state.replace('_', '-')}[/{style}]",
            str(outcome.calls_model),
            str(outcome.calls_rules),
            f"{outcome.line_seconds:.1f}",
            f"{outcome.desk_seconds:.1f}",
            escape(_end(outcome)),
        )
    return drawn


def _end(outcome: Outcome) -> str:
    if outcome.output_path:
        return short_path(outcome.output_path)
    return shorten(" ".join((outcome.message or "-").split()), REASON_CHARACTERS, placeholder=" ...")
