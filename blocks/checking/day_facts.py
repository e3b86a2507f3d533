"""What a brief says: facts from planners, outputs and run records, counted and worded by code. Pure.

A model may put some of them into a few sentences or choose what comes first; it can add nothing.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from blocks.checking.prose import Check, all_of, faithful
from blocks.reading.others import Output
from blocks.reading.planner import Event, Planner, Todo
from blocks.untrusted import as_data
from governor.policy.facts import Fact
from governor.run_records import RunRecord

ALARM = "ALARM: "
MOST_CHOICES = 5
# Beside urgent ones: by these a model that does not read is found out.
MOST_OTHERS = 2
MOST_SENTENCES = 4
LONGEST_SUMMARY = 500
LONGEST_CHOICE = 160
MESSAGE_CHARACTERS = 140
# States in the order in which a report names them; `written` first, then what needs a look.
STATES = ("written", "could_not", "skipped", "failed", "running")
AGENT_NAME = re.compile(r"\b[a-z][a-z0-9_-]*/[a-z][a-z0-9_-]*\b")
# A number and the word after it.
COUNTED = re.compile(r"(\d+(?:[.,:]\d+)*)\W{1,3}([a-z]+)")
SENTENCE_END = re.compile(r"[.!?](?:\s|$)")


class Choice(Fact):
    """Something that may come first. `urgent`: by rule; when some are, only those may."""

    text: str
    urgent: bool = False


class Question(Fact):
    """Which of several things comes first. `heading`: under which the answer stands on the page."""

    heading: str
    question: str
    choices: tuple[Choice, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """As a model chooses among them."""
        return tuple(choice.text for choice in self.choices)


class AgentFigures(Fact):
    """What one agent did in a span."""

    agent: str
    runs: int
    states: dict[str, int]
    verified: int
    by_rules: int
    desk_seconds: float
    line_seconds: float
    alarm: str = ""

    @property
    def share(self) -> str:
        """Calls whose own text passed, of all."""
        calls = self.verified + self.by_rules
        return f"{self.verified} of {calls}" if calls else "no calls"


def todo_choices(todos: Sequence[Todo], day: date) -> list[Choice]:
    """What to do first: as many urgent ones as fit, then others, in their order."""
    all_of_them = [Choice(text=todo.text, urgent=_is_urgent(todo, day)) for todo in todos if todo.text]
    return _some(all_of_them)


def event_choices(events: Sequence[Event]) -> list[Choice]:
    """Which event to prepare for: one that is not there every day."""
    return _some([Choice(text=event.title, urgent=not event.daily) for event in events])


def run_choices(figures: Sequence[AgentFigures]) -> list[Choice]:
    """Which agent to look at first: those with an alarm or a failure are urgent."""
    return _some([Choice(text=f"{f.agent} {_in_brief(f)}", urgent=_needs_a_look(f)) for f in figures])


def _in_brief(figures: AgentFigures) -> str:
    if figures.alarm:
        return "raised an alarm"
    if _needs_a_look(figures):
        return "failed"
    return "is fine" if set(figures.states) <= {"written"} else _state_of(figures)


def _some(choices: Sequence[Choice]) -> list[Choice]:
    plain = [choice.model_copy(update={"text": choice.text.replace('"', "'")[:LONGEST_CHOICE]}) for choice in choices]
    distinct = list({choice.text: choice for choice in plain}.values())
    urgent = [choice for choice in distinct if choice.urgent][: MOST_CHOICES - MOST_OTHERS]
    others = [choice for choice in distinct if not choice.urgent][: MOST_OTHERS if urgent else MOST_CHOICES]
    return [choice for choice in distinct if choice in urgent or choice in others]


def comes_first(choices: Sequence[Choice]) -> Check:
    """The rule for what is chosen: when something is urgent, it is one of those."""
    urgent = {choice.text for choice in choices if choice.urgent}
    return lambda text: [] if not urgent or text.strip().strip('"') in urgent else ["something else is urgent"]


def first_by_rule(choices: Sequence[Choice]) -> str:
    """The first urgent one, else the first; '' for none."""
    return next((c.text for c in choices if c.urgent), choices[0].text if choices else "")


def says_no_more(facts: str, agents: Iterable[str]) -> Check:
    """The rule for the sentences: faithful, four at most, and every agent that they name is one that exists."""
    known = set(agents)

    def names(text: str) -> list[str]:
        unknown = set(AGENT_NAME.findall(text)) - known
        problems = [f"there is no agent {name}" for name in sorted(unknown) if name not in facts]
        count = len(SENTENCE_END.findall(text))
        return problems + ([] if count <= MOST_SENTENCES else [f"{count} sentences"])

    return all_of(faithful(facts, most=LONGEST_SUMMARY), figures_as_said(facts), names)


def figures_as_said(facts: str) -> Check:
    """The rule for figures: each counts what it counts in the facts, by the word after it."""
    known = set(COUNTED.findall(facts))
    return lambda text: [
        f"the facts do not say {' '.join(pair)}" for pair in COUNTED.findall(text) if pair not in known
    ]


def event_lines(planner: Planner) -> list[str]:
    """The day's events, then what was cancelled."""
    return [event.words for event in planner.events] + [f"cancelled: {title}" for title in planner.cancelled]


def todo_lines(todos: Sequence[Todo], day: date) -> list[str]:
    """What is to do, urgent ones first."""
    order = sorted(todos, key=lambda todo: not _is_urgent(todo, day))
    return [todo.text + _due_words(todo, day) for todo in order]


def _is_urgent(todo: Todo, day: date) -> bool:
    return todo.high or (todo.due is not None and todo.due <= day)


def _due_words(todo: Todo, day: date) -> str:
    words = ["important"] if todo.high else []
    if todo.due is not None:
        late = "overdue since" if todo.due < day else "due today," if todo.due == day else "due"
        words.append(f"{late} {todo.due}")
    return f" ({', '.join(words)})" if words else ""


def output_lines(outputs: Sequence[Output], day: str) -> list[str]:
    """What each agent's latest page begins with; from which day, where it is not today's."""
    return [f"{o.agent}{'' if o.day == day else f' ({o.day})'}: {o.headline or 'an empty page'}" for o in outputs]


def missing_lines(expected: Sequence[str], outputs: Sequence[Output], day: str) -> list[str]:
    """Which expected outputs are not there, or are old."""
    there = {output.agent: output.day for output in outputs}
    none = [f"{agent} has written nothing yet" for agent in expected if agent not in there]
    old = [f"{a}: its latest output is of {there[a]}" for a in expected if a in there and there[a] < day]
    return none + old


def figures_of(runs: Sequence[RunRecord]) -> list[AgentFigures]:
    """Per agent, by name."""
    by_agent: dict[str, list[RunRecord]] = {}
    for run in runs:
        by_agent.setdefault(run.agent, []).append(run)
    return [_figures(agent, of_agent) for agent, of_agent in sorted(by_agent.items())]


def _figures(agent: str, runs: Sequence[RunRecord]) -> AgentFigures:
    states = Counter(run.state for run in runs)
    last = runs[-1].message
    return AgentFigures(
        agent=agent,
        runs=len(runs),
        states={state: states[state] for state in STATES if states[state]},
        verified=sum(run.verified for run in runs),
        by_rules=sum(run.by_rules for run in runs),
        desk_seconds=sum(run.desk_seconds for run in runs),
        line_seconds=sum(run.line_seconds for run in runs),
        alarm=as_data(last.removeprefix(ALARM), MESSAGE_CHARACTERS) if last.startswith(ALARM) else "",
    )


def figure_rows(figures: Sequence[AgentFigures]) -> list[list[object]]:
    """A row an agent: runs, states, calls, seconds."""
    return [[f.agent, f.runs, *(f.states.get(state, 0) for state in STATES), f.share, *_seconds(f)] for f in figures]


def _seconds(figures: AgentFigures) -> list[str]:
    return [f"{figures.desk_seconds:.0f}", f"{figures.line_seconds:.0f}"]


def total_line(figures: Sequence[AgentFigures]) -> str:
    """All of it in one sentence."""
    if not figures:
        return "No agent ran."
    runs, states = sum(f.runs for f in figures), Counter[str]()
    for one in figures:
        states.update(one.states)
    verified, calls = sum(f.verified for f in figures), sum(f.verified + f.by_rules for f in figures)
    seconds = sum(f.desk_seconds for f in figures)
    said = ", ".join(f"{states[state]} {_word(state)}" for state in STATES if states[state])
    return (
        f"{runs} runs of {len(figures)} agents: {said}. Of {calls} calls to models {verified} were verified; "
        f"{seconds:.0f} seconds at the desk."
    )


def kind_rows(figures: Sequence[AgentFigures]) -> list[list[object]]:
    """The same by kind of agent, which is the part of its name before the slash."""
    kinds: dict[str, list[AgentFigures]] = {}
    for one in figures:
        kinds.setdefault(one.agent.partition("/")[0], []).append(one)
    return [
        [
            kind,
            len(of_kind),
            sum(f.runs for f in of_kind),
            sum(f.verified for f in of_kind),
            sum(f.by_rules for f in of_kind),
            f"{sum(f.desk_seconds for f in of_kind):.0f}",
        ]
        for kind, of_kind in sorted(kinds.items())
    ]


def alarm_lines(figures: Sequence[AgentFigures]) -> list[str]:
    """Alarms and failures, for the top of a page."""
    return [f"{f.agent}: {_state_of(f)}" for f in figures if _needs_a_look(f)]


def alarm_sentences(figures: Sequence[AgentFigures]) -> list[str]:
    """The same in as few words as there can be, for a model."""
    return [f"{f.agent} {_in_brief(f)}." for f in figures if _needs_a_look(f)]


def _needs_a_look(figures: AgentFigures) -> bool:
    return bool(figures.alarm) or bool(figures.states.get("failed"))


def _state_of(figures: AgentFigures) -> str:
    if figures.alarm:
        return f"alarm, {figures.alarm}"
    return ", ".join(f"{count} {_word(state)}" for state, count in figures.states.items())


def _word(state: str) -> str:
    words: Mapping[str, str] = {"could_not": "could not", "running": "still running"}
    return words.get(state, state)
