"""Which model did what in a run, and why, in one line for its output: from decision rows to words.

`hotdesk why` says the same at length (`deployments.why`). No word that a model wrote stands in it.
"""

import logging
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from governor.decided import Cost, Served, cost_of, of_run, requests_of
from governor.errors import HotdeskError
from governor.events import log_event
from governor.state.models import AgentRun, Decision
from governor.state.sessions import reading

JOULES_PER_WH = 3600.0
# Below this the energy is said in joules: 0.1 Wh.
LEAST_WH_JOULES = 360.0
# The smallest price that is shown as a figure.
LEAST_USD = 0.0001


def line_of_run(record_id: int) -> str:
    """The line of the run with this row in `agent_runs`; '' when it called no model, or cannot be told now.

    Whatever is wrong with the records must not cost an agent its output.
    """
    try:
        with reading() as session:
            run = session.get_one(AgentRun, record_id)
            return one_line(of_run(session, run, since=run.started_at))
    except (HotdeskError, SQLAlchemyError) as error:
        log_event("no_line_of_why", level=logging.WARNING, why=str(error)[:200])
        return ""


def one_line(decisions: Sequence[Decision]) -> str:
    """Per kind of work and model chosen: how many, why, what came of it; then what all of it took. '' for none."""
    if not decisions:
        return ""
    groups: dict[tuple[str, str, str], list[Served]] = {}
    for served in requests_of(decisions):
        first = served.first
        groups.setdefault((first.kind, first.tier, first.model), []).append(served)
    return "; ".join([*(_clause(group) for group in groups.values()), ", ".join(cost_words(cost_of(decisions)))])


def tier_words(row: Decision) -> str:
    """A tier and its model; a cloud tier is called by its model already."""
    return row.tier if row.tier == row.model else f"{row.tier} {row.model}"


def cost_words(cost: Cost) -> list[str]:
    """Waited, worked, used and worth; what is not measured is not said."""
    some = "" if cost.priced == cost.calls else f" ({cost.priced} of {cost.calls} calls have a price)"
    worth = "" if cost.usd is None else f"worth {usd_words(cost.usd)}{some}"
    energy = "" if cost.joules is None else energy_words(cost.joules)
    said = (f"{seconds_words(cost.line_seconds)} in line", f"{seconds_words(cost.work_seconds)} at work", energy, worth)
    return [part for part in said if part]


def seconds_words(seconds: float) -> str:
    """Seconds as people say them: a tenth only where it means something."""
    return f"{seconds:.1f} s" if 0 < seconds < 9.95 else f"{seconds:.0f} s"


def energy_words(joules: float) -> str:
    """Of the whole card, in the unit that has a figure to show."""
    return f"{joules:.0f} J" if joules < LEAST_WH_JOULES else f"{joules / JOULES_PER_WH:.1f} Wh"


def usd_words(usd: float) -> str:
    """A price; what is too small to show is not nothing."""
    if usd < LEAST_USD:
        return f"less than ${LEAST_USD}" if usd > 0 else "$0"
    return f"${usd:.4f}" if usd < 1 else f"${usd:.2f}"


def _clause(group: Sequence[Served]) -> str:
    first = group[0].first
    because = first.reason.partition(";")[0]
    return f"{len(group)} x {first.kind}: {tier_words(first)} ({because}), {', '.join(_outcomes(group))}"


def _outcomes(group: Sequence[Served]) -> list[str]:
    """How many the model chosen did, how many another one, how many nobody."""
    by: dict[str, int] = {}
    for served in group:
        passed = "verified" if served.last.tier == served.first.tier else f"by {served.last.tier}"
        word = passed if served.verified else "not verified"
        by[word] = by.get(word, 0) + 1
    order = sorted(by, key=lambda word: (word == "not verified", word != "verified"))
    return [f"{by[word]} {word}" for word in order]
