"""Act of the rung `trim`: the next admission begins one context further down. Restored by itself when it is calm."""

from collections.abc import Sequence

from governor.policy.facts import Rung
from governor.policy.ladder import Standing
from governor.policy.residency import Fitting


def shrunk(ways: Sequence[Fitting], memory_name: str, standing: Standing) -> list[Fitting]:
    """The ways to load a model that count now: without the largest context, where there is a smaller one.

    What the work needs is left: `ways` holds no context below it. A model in memory keeps the context it has.
    """
    if not standing.at_least(Rung.TRIM, memory_name):
        return list(ways)
    largest = max((way.context_tokens for way in ways), default=0)
    return [way for way in ways if way.context_tokens < largest] or list(ways)
