"""Which model does a piece of work, and why (invariant 19)."""

from datetime import UTC, datetime, timedelta

import pytest

from governor.policy.facts import ModelRequest, ModelSpec, Profile
from governor.policy.routing import RoutingFacts, choose

NOW = datetime(2026, 11, 1, 6, 0, tzinfo=UTC)


def spec(line: str, context_tokens: int) -> ModelSpec:
    return ModelSpec(
        engine="embedded",
        model=f"model-{line}",
        source="weights.gguf",
        line=line,
        context_tokens=context_tokens,
        parameters_billion=0.1,
        expected_mib=200,
    )


PROFILE = Profile(
    name="test",
    tiers={"heavy": spec("gpu", 4096), "tiny": spec("cpu", 1024)},
    slots={"gpu": 1, "cpu": 1},
    worker_limit=2,
    keep_alive_seconds=60,
    memory_budget_mib=1000,
    first_round_items=2,
    first_round_tokens=64,
)


def facts(waiting_gpu: int = 0, waiting_cpu: int = 0) -> RoutingFacts:
    return RoutingFacts(
        profile=PROFILE,
        waiting={"gpu": waiting_gpu, "cpu": waiting_cpu},
        median_seconds={"gpu": 60.0, "cpu": 10.0},
        now=NOW,
    )


@pytest.mark.parametrize(
    ("request_", "waiting_gpu", "expected"),
    [
        (ModelRequest(kind="classify", prompt="x", choices=("a", "b")), 0, ["tiny", "heavy"]),
        (ModelRequest(kind="extract", prompt="x"), 0, ["tiny", "heavy"]),
        (ModelRequest(kind="extract", prompt="x", quality="good"), 0, ["heavy", "tiny"]),
        (ModelRequest(kind="summarise", prompt="x"), 0, ["heavy", "tiny"]),
        (ModelRequest(kind="write", prompt="x", quality="quick"), 0, ["tiny", "heavy"]),
        # too long for the small context
        (ModelRequest(kind="classify", prompt="x" * 4000), 0, ["heavy"]),
        # the long GPU line would miss the due time, the CPU makes it
        (ModelRequest(kind="write", prompt="x", due_at=NOW + timedelta(minutes=5)), 9, ["tiny"]),
        # both would miss it: the one that misses it by less still does it
        (ModelRequest(kind="write", prompt="x", due_at=NOW + timedelta(seconds=5)), 9, ["tiny"]),
        # a due time that has passed changes nothing
        (ModelRequest(kind="write", prompt="x", due_at=NOW - timedelta(minutes=5)), 9, ["heavy", "tiny"]),
    ],
)
def test_the_order_of_tiers(request_: ModelRequest, waiting_gpu: int, expected: list[str]):
    assert [c.tier for c in choose(request_, facts(waiting_gpu)).candidates] == expected


def test_a_refusal_says_by_how_much_a_due_time_would_be_missed():
    request = ModelRequest(kind="write", prompt="x", due_at=NOW + timedelta(minutes=4))
    [refusal] = choose(request, facts(waiting_gpu=9)).refusals
    assert refusal.tier == "heavy"
    assert refusal.reason == "would miss 06:04 UTC by 6 min"


def test_nothing_fits_is_an_empty_route_with_every_refusal():
    route = choose(ModelRequest(kind="write", prompt="x" * 100_000), facts())
    assert route.candidates == ()
    assert {refusal.tier for refusal in route.refusals} == {"heavy", "tiny"}
    assert all("its context is" in refusal.reason for refusal in route.refusals)


def test_every_candidate_says_why():
    for candidate in choose(ModelRequest(kind="summarise", prompt="x"), facts(2)).candidates:
        assert "line" in candidate.reason
