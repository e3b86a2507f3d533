"""What each brief reads, and the sections it has: one place where a brief's name meets its parts."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from blocks.checking import day_facts as facts
from blocks.reading.others import Outputs, read_outputs
from blocks.reading.planner import Planner, read_planner
from blocks.writing.markdown import cell, escaped, table
from blocks.writing.outputs import sha256
from governor.run_records import RunRecord, agents_seen, runs_between

DAYS_OF_WEEK = 7
# Facts that a model is told of: a weak one loses itself in more.
MOST_TOLD = 5
FIGURES = ["agent", "runs", "written", "could not", "skipped", "failed", "running", "verified", "desk s", "line s"]
KINDS = ["kind", "agents", "runs", "verified", "by rules", "desk s"]


class Brief(StrEnum):
    """Which one."""

    DAY_PLAN = "day-plan"
    EVENING_REPORT = "evening-report"
    WEEK = "week"
    FLEET_REPORT = "fleet-report"


class Asked(BaseModel):
    """What a brief is told. `agent`: its own name, which it does not report on."""

    model_config = ConfigDict(frozen=True)

    source: str
    outputs: str
    expects: list[str]
    agent: str
    now: datetime
    zone: str
    max_bytes: int

    @property
    def day(self) -> date:
        """The local day."""
        return self.now.astimezone(ZoneInfo(self.zone)).date()


class Gathered(BaseModel):
    """The facts of a brief.

    Attributes:
        told: sentences for a model, none where nothing happened. questions: for a model, with what to choose among.
        agents: names that exist. nothing: what is said where nothing happened.
        sections: title and markdown. inputs: name -> sha256 of what was read.
        words: those of the inputs as they stand there; addresses in them may stand on the page.
    """

    model_config = ConfigDict(frozen=True)

    told: list[str]
    nothing: str
    questions: list[facts.Question]
    agents: list[str]
    sections: list[tuple[str, str]]
    inputs: dict[str, str]
    words: str = ""


def gather(brief: Brief, asked: Asked) -> Gathered:
    """Read what the brief is about.

    Raises:
        BadInput: a folder does not exist.
    """
    outputs = read_outputs(asked.outputs, without=asked.agent, until=str(asked.day))
    if brief is Brief.DAY_PLAN:
        return _day_plan(asked, outputs)
    days = 1 if brief is Brief.EVENING_REPORT else DAYS_OF_WEEK
    return _report(brief, asked, outputs, days=days)


def _day_plan(asked: Asked, outputs: Outputs) -> Gathered:
    planner = read_planner(asked.source, asked.day, asked.zone, max_bytes=asked.max_bytes)
    figures = facts.figures_of(_runs(asked, days=2))
    events, todos = facts.event_lines(planner), facts.todo_lines(planner.todos, asked.day)
    alarms = facts.alarm_lines(figures)
    missing = _missing(asked, outputs, planner.problems)
    written = facts.output_lines(outputs.outputs, str(asked.day))
    sections = [
        ("Today", _list(events, "Nothing in the calendar today.")),
        ("To do", _list(todos, "Nothing to do is written down.")),
        ("To look at", _list(alarms, "No agent raised an alarm.")),
        ("What the agents wrote", _list(written, "No agent has written anything yet.")),
        *_section("Missing", missing),
    ]
    special = [event.title for event in planner.events if not event.daily][:MOST_TOLD]
    told = [f"In the calendar: {'; '.join(special)}"] if special else []
    told += [f"To do: {'; '.join(todo.text for todo in planner.todos[:2])}"] if planner.todos else []
    inputs = {name: sha256(text) for name, text in planner.files.items()} | _inputs(outputs)
    return Gathered(
        told=told,
        nothing="The calendar is empty and nothing is to do.",
        questions=_questions(
            ("First", "Which of these is to be done first today?", facts.todo_choices(planner.todos, asked.day)),
            ("Prepare for", "Which of these needs something prepared?", facts.event_choices(planner.events)),
        ),
        agents=_names(figures, outputs),
        sections=sections,
        inputs=inputs,
        words="\n".join([*events, *todos, *alarms, *written]),
    )


def _report(brief: Brief, asked: Asked, outputs: Outputs, *, days: int) -> Gathered:
    figures = facts.figures_of(_runs(asked, days=days))
    total, alarms = facts.total_line(figures), facts.alarm_lines(figures)
    rows = table(FIGURES, facts.figure_rows(figures)) if figures else "No agent ran."
    sections = [("In short", cell(total)), ("To look at", _list(alarms, "No agent failed or raised an alarm."))]
    asks = [("Look first at", "Which of these agents needs a look?", facts.run_choices(figures))]
    problems: Sequence[str] = ()
    words = [*alarms]
    if brief is Brief.WEEK:
        planners = _coming(asked)
        lines = [f"{day:%a %d %b}, {line}" for day, planner in planners for line in facts.event_lines(planner)]
        sections.append(("The coming week", _list(lines, "Nothing in the calendar.")))
        problems = [*dict.fromkeys(problem for _, planner in planners for problem in planner.problems)]
        words += lines
        events = [event for _, planner in planners for event in planner.events]
        asks.append(("Prepare for", "Which of these needs something prepared?", facts.event_choices(events)))
    if brief is Brief.FLEET_REPORT and figures:
        sections.append(("By kind", table(KINDS, facts.kind_rows(figures))))
    sections.append(("By agent", rows))
    if brief is Brief.EVENING_REPORT:
        today = [output for output in outputs.outputs if output.day == str(asked.day)]
        lines = facts.output_lines(today, str(asked.day))
        words += lines
        sections.append(("Written today", _list(lines, "No agent has written anything today.")))
    sections += _section("Missing", _missing(asked, outputs, problems))
    return Gathered(
        told=[total, *facts.alarm_sentences(figures)[: MOST_TOLD - 1]] if figures else [],
        nothing=total,
        questions=_questions(*asks),
        agents=_names(figures, outputs),
        sections=sections,
        inputs={"run records": sha256(repr(figures))} | _inputs(outputs),
        words="\n".join(words),
    )


def _questions(*asks: tuple[str, str, list[facts.Choice]]) -> list[facts.Question]:
    """Those with something to choose among."""
    return [facts.Question(heading=h, question=q, choices=tuple(choices)) for h, q, choices in asks if len(choices) > 1]


def _runs(asked: Asked, *, days: int) -> list[RunRecord]:
    zone = ZoneInfo(asked.zone)
    end = datetime.combine(asked.day + timedelta(days=1), datetime.min.time(), tzinfo=zone)
    begin = datetime.combine(asked.day - timedelta(days=days - 1), datetime.min.time(), tzinfo=zone)
    return runs_between(begin, end, without=asked.agent)


def _coming(asked: Asked) -> list[tuple[date, Planner]]:
    days = [asked.day + timedelta(days=number) for number in range(1, DAYS_OF_WEEK + 1)]
    return [(day, read_planner(asked.source, day, asked.zone, max_bytes=asked.max_bytes)) for day in days]


def _missing(asked: Asked, outputs: Outputs, problems: Sequence[str]) -> list[str]:
    return [*facts.missing_lines(asked.expects, outputs.outputs, str(asked.day)), *problems, *outputs.problems]


def _inputs(outputs: Outputs) -> dict[str, str]:
    return {f"{output.folder}/{output.day}.md": output.sha256 for output in outputs.outputs}


def _names(figures: Sequence[facts.AgentFigures], outputs: Outputs) -> list[str]:
    return sorted({*agents_seen(), *(f.agent for f in figures), *(o.agent for o in outputs.outputs)})


def _section(title: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    return [(title, _list(lines, ""))] if lines else []


def _list(lines: Sequence[str], none: str) -> str:
    return "\n".join(f"- {escaped(line)}" for line in lines) or none
