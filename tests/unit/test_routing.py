"""Which model does a piece of work, and why (invariant 27)."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from governor import pauses
from governor.policy.facts import Kind, ModelSpec, Profile
from governor.policy.refusing import RoutingRules
from governor.policy.requests import ModelRequest, Quality, Route
from governor.policy.routing import RoutingFacts, choose
from governor.policy.tokens import estimated_tokens
from governor.routing import Asker, gather_facts
from governor.settings import Home

NOW = datetime(2026, 11, 1, 6, 0, tzinfo=UTC)


def spec(line: str, context_tokens: int) -> ModelSpec:
    return ModelSpec(
        engine="embedded",
        model=f"model-{line}",
        source="weights.gguf",
        line=line,
        context_tokens=context_tokens,
        parameters_billion=7.0 if line == "gpu" else 0.5,
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


def refusals(route: Route) -> dict[str, str]:
    return {refusal.tier: refusal.reason for refusal in route.refusals}


def facts(waiting_gpu: int = 0, waiting_cpu: int = 0) -> RoutingFacts:
    return RoutingFacts(
        profile=PROFILE,
        ahead={"gpu": ("model-gpu",) * waiting_gpu, "cpu": ("model-cpu",) * waiting_cpu},
        median_seconds={"gpu": 60.0, "cpu": 10.0},
        now=NOW,
    )


@pytest.mark.parametrize(
    ("request_", "waiting_gpu", "expected"),
    [
        (ModelRequest(kind=Kind.CLASSIFY, prompt="x", choices=("a", "b")), 0, ["tiny", "heavy"]),
        (ModelRequest(kind=Kind.EXTRACT, prompt="x"), 0, ["tiny", "heavy"]),
        (ModelRequest(kind=Kind.EXTRACT, prompt="x", quality=Quality.GOOD), 0, ["heavy", "tiny"]),
        # a long line for the small model is beaten by the large one, which is enough too
        (ModelRequest(kind=Kind.EXTRACT, prompt="x", quality=Quality.QUICK), 0, ["tiny", "heavy"]),
        (ModelRequest(kind=Kind.SUMMARISE, prompt="x"), 0, ["heavy", "tiny"]),
        (ModelRequest(kind=Kind.WRITE, prompt="x", quality=Quality.QUICK), 0, ["tiny", "heavy"]),
        # too long for the small context
        (ModelRequest(kind=Kind.CLASSIFY, prompt="x" * 4000), 0, ["heavy"]),
        # the long GPU line would miss the due time, the CPU makes it
        (ModelRequest(kind=Kind.WRITE, prompt="x", due_at=NOW + timedelta(minutes=5)), 9, ["tiny"]),
        # both would miss it: the one that misses it by less still does it
        (ModelRequest(kind=Kind.WRITE, prompt="x", due_at=NOW + timedelta(seconds=5)), 9, ["tiny"]),
        # a due time that has passed changes nothing
        (ModelRequest(kind=Kind.WRITE, prompt="x", due_at=NOW - timedelta(minutes=5)), 9, ["heavy", "tiny"]),
    ],
)
def test_the_order_of_tiers(request_: ModelRequest, waiting_gpu: int, expected: list[str]):
    assert [c.tier for c in choose(request_, facts(waiting_gpu)).candidates] == expected


def test_a_refusal_says_by_how_much_a_due_time_would_be_missed():
    request = ModelRequest(kind=Kind.WRITE, prompt="x", due_at=NOW + timedelta(minutes=4))
    refusal = refusals(choose(request, facts(waiting_gpu=9)))["heavy"]
    assert refusal == "would miss 06:04 UTC by 6 min"


def test_nothing_fits_is_an_empty_route_with_every_refusal():
    route = choose(ModelRequest(kind=Kind.WRITE, prompt="x" * 100_000), facts())
    assert route.candidates == ()
    refused = refusals(route)
    assert refused.pop("cloud") == "private: these words stay on this machine"
    assert set(refused) == {"heavy", "tiny"}
    assert all("context too small: needs about" in reason for reason in refused.values())


def test_every_candidate_says_why():
    for candidate in choose(ModelRequest(kind=Kind.SUMMARISE, prompt="x"), facts(2)).candidates:
        assert "line" in candidate.reason


def test_a_due_time_of_another_zone_is_told_in_utc():
    due = (NOW + timedelta(minutes=4)).astimezone(timezone(timedelta(hours=2)))
    route = choose(ModelRequest(kind=Kind.WRITE, prompt="x", due_at=due), facts(waiting_gpu=9))
    assert "would miss 06:04 UTC" in refusals(route)["heavy"]


def test_a_model_larger_than_this_machine_allows_is_refused():
    small = facts().model_copy(update={"profile": PROFILE.model_copy(update={"memory_budget_mib": 150.0})})
    route = choose(ModelRequest(kind=Kind.WRITE, prompt="x"), small)
    assert route.candidates == ()
    said = "too big for this machine: takes about 200 MiB, models may take 150"
    assert [refusals(route)[tier] for tier in ("heavy", "tiny")] == [said, said]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (RoutingRules(allow_gpu=False), ["tiny"]),
        (RoutingRules(allow_cpu=False), ["heavy"]),
        (RoutingRules(allow_gpu=False, allow_cpu=False), []),
    ],
)
def test_the_operators_rules_come_first(rules: RoutingRules, expected: list[str]):
    route = choose(ModelRequest(kind=Kind.WRITE, prompt="x"), facts().model_copy(update={"rules": rules}))
    assert [c.tier for c in route.candidates] == expected


@pytest.mark.parametrize(
    ("paused", "prompt", "due_at", "expected"),
    [
        ({"gpu": "closed"}, "x", None, ["tiny"]),
        ({"cpu": "closed"}, "x", None, ["heavy"]),
        # nobody else can serve it: it waits there, or skips with that reason
        ({"gpu": "closed", "cpu": "closed"}, "x", None, ["heavy", "tiny"]),
        ({"gpu": "closed"}, "x" * 4000, None, ["heavy"]),
        # one that would be late still serves, before one that nobody can sit down at
        ({"gpu": "closed"}, "x", NOW + timedelta(seconds=5), ["tiny"]),
        ({"gpu:1": "closed"}, "x", None, ["heavy", "tiny"]),
    ],
)
def test_a_paused_line_is_left_out_while_another_tier_can_serve(
    paused: dict[str, str], prompt: str, due_at: datetime | None, expected: list[str]
):
    known = facts().model_copy(update={"paused": paused})
    route = choose(ModelRequest(kind=Kind.WRITE, prompt=prompt, due_at=due_at), known)
    assert [c.tier for c in route.candidates] == expected


def test_a_tier_of_a_paused_line_is_refused_with_the_pauses_own_reason_or_served_with_it():
    known = facts().model_copy(update={"paused": {"gpu": "the gpu line is paused"}})
    route = choose(ModelRequest(kind=Kind.WRITE, prompt="x"), known)
    assert refusals(route)["heavy"] == "the gpu line is paused"
    [candidate] = choose(ModelRequest(kind=Kind.WRITE, prompt="x" * 4000), known).candidates
    assert candidate.reason.endswith("the gpu line is paused")


def test_the_router_is_told_of_pauses_a_persons_first(hotdesk_home: Home):
    now = datetime.now(UTC)
    pauses.pause(["gpu"], by="governor", reason="vram is full", until=now + timedelta(minutes=15), now=now)
    request, asker = ModelRequest(kind=Kind.WRITE, prompt="x"), Asker("digest/news")
    assert "by the governor: vram is full" in gather_facts(request, asker, now).paused["gpu"]
    pauses.pause(["gpu"], by="person", reason="a game", until=None, now=now)
    assert "by a person" in gather_facts(request, asker, now).paused["gpu"]
    pauses.resume(["gpu"], by="person", now=now)
    assert gather_facts(request, asker, now).paused == {}


# Counts of the shipped model's own tokenizer (POST /tokenize).
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("the quick brown fox jumps over the lazy dog " * 20, 180),
        ("a3f9c2d1e8b74f6a" * 20, 301),
        ('{"a":[1,2,3],"b":{"c":null}}' * 10, 189),
        ("日本語のテキストを要約してください。今日は天気がいいので散歩に行きました。" * 5, 315),
        ("Сегодня хорошая погода, поэтому мы пошли гулять в парк." * 5, 225),
        ("def f(x):\n    return x+1\n" * 30, 330),
        ("https://example.org/a/b?c=d&e=f#g " * 20, 381),
        ("    \n\n\t  " * 30, 61),
    ],
)
def test_the_estimate_is_rather_too_many_tokens_than_too_few(text: str, tokens: int):
    assert tokens <= estimated_tokens(text) <= 1.6 * tokens
