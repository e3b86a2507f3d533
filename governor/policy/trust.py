"""Whether the schedule is believed: only while it foretold at least half of the latest changes of model.

A schedule that lies (runs by hand, runs that never come, other models than it names) can be worse than none: a
contrary one that is always believed costs 1.3 times the stall time of least recently used, and 0.95 with this rule
(`tests.benchmarks.eviction`). While it is not believed only the line is looked ahead into, which is certain, and
then the longest idle leave.

Pure. The record is a few dozen words that `governor.residency` keeps from one seat to the next.
"""

from collections.abc import Sequence

from pydantic import Field

from governor.policy.facts import Fact

# What the benchmark bore out: with fewer than 20 one bad hour decides, with fewer than 3 the first guess does.
REMEMBERED, SEEN_AT_LEAST = 20, 3
RIGHT_AT_LEAST = 0.5


class Trust(Fact):
    """What was foretold of the latest changes of model.

    Attributes:
        model: who was used last. expected: who was foretold to be used next, None where nobody was.
        right: for each change that counted, oldest first, whether it was foretold.
    """

    model: str | None = None
    expected: str | None = None
    right: tuple[bool, ...] = Field(default=(), max_length=REMEMBERED)

    def __str__(self) -> str:
        """For the operator."""
        return f"the schedule foretold {sum(self.right)} of the last {len(self.right)} changes of model"


def observe(trust: Trust, model: str, *, waiting: Sequence[str], coming: Sequence[str]) -> Trust:
    """The record after one more seat. Called once for each, with `forecast.coming` as it stands after it.

    What does not count: the same model again where that was foretold, since any guess gets it right; and a
    use that was already waiting in line when the one before it sat down, since the line told it.
    """
    right = trust.right
    if trust.expected is not None and not model == trust.model == trust.expected:
        right = (*right, model == trust.expected)[-REMEMBERED:]
    return Trust(model=model, expected=coming[0] if coming and not waiting else None, right=right)


def trusts_schedule(trust: Trust) -> bool:
    """Whether to look ahead into the schedule, or into the line alone."""
    return len(trust.right) >= SEEN_AT_LEAST and sum(trust.right) >= RIGHT_AT_LEAST * len(trust.right)
