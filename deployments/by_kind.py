"""What a round came to by kind of agent: how many wrote, how their calls were verified, what they took. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from rich.markup import escape
from rich.table import Table

from deployments.round_agents import kind_of
from deployments.summary import Outcome

EVERYTHING = "all"


@dataclass(frozen=True)
class Tally:
    """Some agents of a round, counted together.

    Attributes:
        first_try, later: requests whose answer passed its checks as it was given first, or after another call to the
            same model or a larger one. rules: those that no model answered rightly. remembered: those that were
            answered at an earlier run, rightly or not. verified: all whose answer is a model's own text that passed.
    """

    kind: str
    agents: int = 0
    written: int = 0
    could_not: int = 0
    skipped: int = 0
    failed: int = 0
    unfinished: int = 0
    first_try: int = 0
    later: int = 0
    rules: int = 0
    remembered: int = 0
    verified: int = 0
    desk_seconds: float = 0.0
    line_seconds: float = 0.0

    @property
    def calls(self) -> int:
        """The requests of these agents."""
        return self.first_try + self.later + self.rules + self.remembered

    @property
    def verified_share(self) -> float | None:
        """Which share of them was verified with a model's own text; None where there were none."""
        return self.verified / self.calls if self.calls else None


def tally(kind: str, outcomes: Iterable[Outcome]) -> Tally:
    """All of them together."""
    ones = [_one(outcome) for outcome in outcomes]
    counted = [field.name for field in fields(Tally) if field.name != "kind"]
    return Tally(kind, **{name: sum(getattr(one, name) for one in ones) for name in counted})


def by_kind(outcomes: Sequence[Outcome]) -> list[Tally]:
    """One tally a kind, in the order of their first agents."""
    kinds = dict.fromkeys(kind_of(outcome.agent) for outcome in outcomes)
    return [tally(kind, (one for one in outcomes if kind_of(one.agent) == kind)) for kind in kinds]


def _one(outcome: Outcome) -> Tally:
    """A run that ended before it counted its calls has those that are on record."""
    asked = outcome.calls_first + outcome.calls_later
    calls = max(outcome.calls_model + outcome.calls_rules, asked + outcome.calls_remembered)
    return Tally(
        kind_of(outcome.agent),
        agents=1,
        **{outcome.state: 1},
        first_try=outcome.calls_first,
        later=outcome.calls_later,
        rules=calls - asked - outcome.calls_remembered,
        remembered=outcome.calls_remembered,
        verified=max(outcome.calls_model, asked),
        desk_seconds=outcome.desk_seconds,
        line_seconds=outcome.line_seconds,
    )


def kind_table(tallies: Sequence[Tally], total: Tally) -> Table:
    """One row a kind, and one for all."""
    drawn = Table(title="by kind", title_justify="left", show_footer=True)
    drawn.add_column("kind", footer=EVERYTHING, no_wrap=True)
    heads = ("agents", "written", "could-not", "1st try", "later", "rules", "known", "desk s", "line s")
    for head, shown in zip(heads, _cells(total), strict=True):
        drawn.add_column(head, footer=shown, justify="right", no_wrap=True)
    for one in tallies:
        drawn.add_row(escape(one.kind), *_cells(one))
    return drawn


def _cells(one: Tally) -> tuple[str, ...]:
    counts = (one.agents, one.written, one.could_not, one.first_try, one.later, one.rules, one.remembered)
    return (*(str(count) for count in counts), f"{one.desk_seconds:.0f}", f"{one.line_seconds:.0f}")


def in_one_line(total: Tally, round_seconds: float) -> str:
    """How long the round took, and which share of the calls was a model's own verified text."""
    took = f"the round took {round_seconds / 60:.1f} minutes"
    if total.verified_share is None:
        return f"{took}; no model was asked"
    how = f"{total.first_try} at the first try, {total.later} after a retry or by a larger model"
    return (
        f"{took}; {total.verified} of {total.calls} calls ({total.verified_share:.0%}) verified with the model's own"
        f" text: {how}"
    )
