"""The zero-cost gate: one rule, for the router that looks ahead and for the ledger that writes a call down."""

import math

import pytest

from governor.policy.refusing import too_dear
from governor.policy.requests import CloudModel

UNKNOWN = "its price is unknown, and what is unknown is not free"
NOTHING = "costs money, and the operator allows none"


def model(*, free: bool) -> CloudModel:
    return CloudModel(name="openai/gpt", calls="gpt", context_tokens=8192, parameters_billion=70, free=free)


@pytest.mark.parametrize(
    ("usd", "spent_usd", "ceiling_usd", "why"),
    [
        (None, 0.0, 1000.0, UNKNOWN),
        (math.nan, 0.0, 1000.0, UNKNOWN),
        (math.inf, 0.0, math.inf, UNKNOWN),
        (-5.0, 0.0, 1000.0, UNKNOWN),
        (0.0, 0.0, 0.0, None),
        (0.01, 0.0, 0.0, NOTHING),
        (0.01, 0.0, 0.01, None),
        (0.01, 0.005, 0.01, "would cost up to $0.0100; $0.01 of $0.01 a day are spent"),
        (0.4, 0.9, 1.0, "would cost up to $0.4000; $0.90 of $1.00 a day are spent"),
        (0.01, 0.0, math.nan, "would cost up to $0.0100; $0.00 of $nan a day are spent"),
        (0.01, math.nan, 1.0, "would cost up to $0.0100; $nan of $1.00 a day are spent"),
    ],
)
def test_what_is_not_free_is_called_only_under_a_ceiling_that_holds_it(
    usd: float | None, spent_usd: float, ceiling_usd: float, why: str | None
):
    assert too_dear(model(free=False), usd, spent_usd=spent_usd, ceiling_usd=ceiling_usd) == why


@pytest.mark.parametrize("usd", [None, 3.0, math.nan])
def test_what_is_free_is_never_too_dear(usd: float | None):
    assert too_dear(model(free=True), usd, spent_usd=9.0, ceiling_usd=0.0) is None
