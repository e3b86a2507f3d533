"""When the cloud serves a request, when this machine does, and what is refused to whom (invariants 27, 37, 38)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from governor.policy.allowance import Left
from governor.policy.facts import Held, Kind, ModelSpec, Profile, Rung
from governor.policy.gains import Gains, Tally
from governor.policy.refusing import CloudFact, RoutingRules
from governor.policy.requests import Allowance, CloudModel, ModelRequest, Privacy, Quality, Route, Span, stricter
from governor.policy.routing import RoutingFacts, Seated, choose, expected_wait_seconds

NOW = datetime(2026, 11, 1, 6, 0, tzinfo=UTC)


def spec(line: str, billion: float, **more: object) -> ModelSpec:
    known = {"engine": "ollama", "source": "m", "context_tokens": 4096, "expected_mib": 100, "model": f"{billion}b"}
    return ModelSpec.model_validate({**known, "line": line, "parameters_billion": billion, **more})


PROFILE = Profile(
    name="test",
    tiers={"heavy": spec("gpu", 7.6), "tiny": spec("cpu", 0.5)},
    slots={"gpu": 1, "cpu": 1},
    worker_limit=2,
    keep_alive_seconds=60,
    memory_budget_mib=1000,
    first_round_items=2,
    first_round_tokens=64,
)
DAILY = Allowance(unit="requests", span=Span.DAY, amount=1000)
GROQ = CloudModel(
    name="groq/big",
    calls="groq/big",
    context_tokens=32_000,
    parameters_billion=120,
    trains="no",
    free=True,
    allowances=(DAILY,),
)
GEMINI = GROQ.model_copy(update={"name": "gemini/flash", "trains": "yes"})
MUTE = GROQ.model_copy(update={"name": "cohere/plus", "trains": "unknown"})
PAID = GROQ.model_copy(update={"name": "openai/large", "free": False, "input_usd": 2.0, "output_usd": 8.0})


def left(used: int, amount: int = 1000) -> tuple[Left, ...]:
    allowance = DAILY.model_copy(update={"amount": amount})
    return (Left(allowance=allowance, used=used, until=datetime(2026, 11, 2, tzinfo=UTC)),)


def facts(*clouds: CloudFact, ahead: int | dict[str, tuple[str, ...]] = 0, **more: object) -> RoutingFacts:
    known = RoutingFacts(
        profile=PROFILE,
        ahead={"gpu": ("7.6b",) * ahead} if isinstance(ahead, int) else ahead,
        median_seconds={"gpu": 60.0, "cpu": 10.0},
        clouds=clouds,
        now=NOW,
    )
    return known.model_copy(update=more)


def order(route: Route) -> list[str]:
    return [candidate.tier for candidate in route.candidates]


def refused(route: Route) -> dict[str, str]:
    return {refusal.tier: refusal.reason for refusal in route.refusals}


def write(**more: object) -> ModelRequest:
    return ModelRequest.model_validate({"kind": "write", "prompt": "x", "privacy": "public", **more})


@pytest.mark.parametrize(
    ("ahead", "used", "expected"),
    [
        (0, 0, ["heavy", "groq/big", "tiny"]),  # the desk is free: no call of an allowance is used up
        (6, 0, ["groq/big", "heavy", "tiny"]),  # six minutes of line are worth one of a thousand calls
        (6, 790, ["heavy", "groq/big", "tiny"]),  # and not one of the last that anybody may have
    ],
)
def test_a_waiting_line_is_beaten_by_the_cloud_and_a_scarce_allowance_by_the_line(
    ahead: int, used: int, expected: list[str]
):
    known = facts(CloudFact(model=GROQ, left=left(used)), ahead=ahead)
    assert order(choose(write(), known)) == expected


def test_a_waiting_line_is_beaten_by_the_other_line_where_both_are_enough():
    request = ModelRequest(kind=Kind.CLASSIFY, prompt="x", choices=("a", "b"))
    assert order(choose(request, facts())) == ["tiny", "heavy"]
    known = facts(ahead=0).model_copy(update={"ahead": {"cpu": ("0.5b",) * 12}})
    assert order(choose(request, known)) == ["heavy", "tiny"]


@pytest.mark.parametrize(
    ("privacy", "may"),
    [
        (None, []),
        (Privacy.LOCAL_ONLY, []),
        (Privacy.NO_TRAINING, ["groq/big"]),
        (Privacy.PUBLIC, ["groq/big", "gemini/flash", "cohere/plus"]),
    ],
)
def test_words_go_only_where_their_privacy_allows_and_unknown_training_counts_as_training(
    privacy: Privacy | None, may: list[str]
):
    clouds = [CloudFact(model=model, left=left(0)) for model in (GROQ, GEMINI, MUTE)]
    route = choose(write(privacy=privacy, quality=Quality.GOOD), facts(*clouds, ahead=9))
    assert sorted(tier for tier in order(route) if "/" in tier) == sorted(may)
    if privacy is Privacy.NO_TRAINING:
        assert refused(route)["gemini/flash"] == "private: it trains on prompts"
        assert refused(route)["cohere/plus"] == "private: it does not say that it does not train on prompts"
    if not may:
        assert refused(route)["cloud"] == "private: these words stay on this machine"


@pytest.mark.parametrize(
    ("cloud", "request_", "said"),
    [
        (CloudFact(model=GROQ, left=left(1000)), write(), "allowance spent until 00:00 UTC"),
        (CloudFact(model=GROQ, left=left(850)), write(), "due time"),
        (
            CloudFact(model=GROQ, closed_until=NOW + timedelta(minutes=12), closed_why="429"),
            write(),
            "cooling down until 06:12 UTC: 429",
        ),
        (
            CloudFact(model=GROQ, closed_until=NOW + timedelta(days=2), closed_why="quota"),
            write(),
            "cooling down until 2026-11-03 06:00 UTC: quota",
        ),
        (CloudFact(model=GROQ), write(prompt="word " * 40_000), "context too small"),
        (CloudFact(model=GROQ.model_copy(update={"most_output_tokens": 100})), write(max_tokens=101), "end at 100"),
        (CloudFact(model=PAID), write(), "costs money, and the operator allows none"),
        (CloudFact(model=PAID.model_copy(update={"input_usd": None})), write(), "its price is unknown"),
        (CloudFact(model=GROQ), write(kind="embed", inputs={"a": "b"}), "makes no vectors"),
        (CloudFact(model=GROQ.model_copy(update={"kinds": frozenset({Kind.CODE})})), write(), "is for code only"),
    ],
)
def test_every_refusal_of_a_cloud_tier_says_why(cloud: CloudFact, request_: ModelRequest, said: str):
    route = choose(request_, facts(cloud))
    assert cloud.model.name not in order(route)
    assert said in refused(route)[cloud.model.name]


def test_the_last_calls_of_a_day_are_kept_for_what_is_due():
    known = facts(CloudFact(model=GROQ, left=left(850)), ahead=9)
    assert "groq/big" not in order(choose(write(), known))
    assert order(choose(write(due_at=NOW + timedelta(minutes=1)), known))[0] == "groq/big"


def test_a_paid_model_is_called_under_a_ceiling_that_holds_it_and_todays_spending_only():
    known = facts(CloudFact(model=PAID, spent_usd=0.5), ahead=9)
    assert "openai/large" not in order(choose(write(), known))
    allowed = known.model_copy(update={"rules": RoutingRules(ceiling_usd=0.6)})
    assert "openai/large" in order(choose(write(), allowed))
    spent = known.model_copy(update={"rules": RoutingRules(ceiling_usd=0.5)})
    assert refused(choose(write(), spent))["openai/large"].endswith("$0.50 of $0.50 a day are spent")


def test_no_key_and_an_operator_who_wants_no_cloud_are_said():
    assert refused(choose(write(), facts()))["cloud"] == "no tier of the cloud has a key"
    known = facts(CloudFact(model=GROQ), rules=RoutingRules(allow_cloud=False))
    assert refused(choose(write(), known))["groq/big"] == "the operator keeps agents off the cloud"


def test_a_paused_line_does_not_hold_up_what_the_cloud_may_see():
    paused = {"gpu": "closed", "cpu": "closed"}
    known = facts(CloudFact(model=GROQ, left=left(0)), paused=paused)
    assert order(choose(write(), known)) == ["groq/big"]
    assert order(choose(write(privacy=None), known)) == ["heavy", "tiny"]


def test_a_model_that_mostly_fails_is_not_enough_whatever_its_size():
    request = ModelRequest(kind=Kind.CLASSIFY, prompt="x", choices=("a", "b"))
    seen = {"0.5b": Tally(tried=100, verified=5), "7.6b": Tally(tried=100, verified=99)}
    route = choose(request, facts(gains=Gains(of_kind=seen, of_agent=seen)))
    assert order(route) == ["heavy", "tiny"]
    assert "passed 99 of 100 here" in route.candidates[0].reason
    few = {"0.5b": Tally(tried=5, verified=0), "7.6b": Tally(tried=100, verified=99)}
    assert order(choose(request, facts(gains=Gains(of_kind=few, of_agent=few))))[0] == "tiny"  # too little is known


def tried(request: ModelRequest, **more: Any) -> list[str]:
    routes = [choose(request, facts(draw=draw / 1000, **more)) for draw in range(1000)]
    assert {tuple(order(route)) for route in routes} == {("tiny", "heavy")}
    return [route.trial.tier for route in routes if route.trial]


def test_one_request_goes_to_another_model_now_and_then_unless_somebody_waits_for_it():
    request = ModelRequest(kind=Kind.CLASSIFY, prompt="x", choices=("a", "b"))
    medians = {"gpu": 12.0, "cpu": 10.0}
    assert 20 <= len(tried(request, median_seconds=medians)) <= 120
    assert set(tried(request, median_seconds=medians)) == {"heavy"}
    due = request.model_copy(update={"due_at": NOW + timedelta(hours=5)})
    assert tried(due, median_seconds=medians) == []
    assert tried(request.model_copy(update={"quality": Quality.QUICK}), median_seconds=medians) == []
    assert tried(request.model_copy(update={"choices": None}), median_seconds=medians) == []  # nothing would be learned
    assert tried(request, median_seconds=medians, rules=RoutingRules(explores=False)) == []
    assert tried(request, median_seconds=medians, ahead={"gpu": ("7.6b",) * 40}) == []  # half an hour to learn little


def test_a_wait_beyond_the_agents_patience_is_a_reason_to_go_to_the_cloud_but_not_to_a_model_too_small():
    scarce = RoutingRules(cloud_price_seconds=10_000)
    known = facts(CloudFact(model=GROQ, left=left(0)), ahead=9, rules=scarce)
    assert order(choose(write(), known)) == ["heavy", "groq/big", "tiny"]
    hasty = known.model_copy(update={"patience_seconds": 300.0})
    assert order(choose(write(), hasty)) == ["groq/big", "heavy", "tiny"]


def test_who_sits_is_waited_for_as_long_as_seats_usually_last_from_then_on():
    def wait(seconds: float) -> float:
        seated = {"gpu": (Seated(model="7.6b", seconds=seconds),)}
        return expected_wait_seconds("gpu", facts(seated=seated))

    assert (wait(0.0), wait(45.0)) == (60.0, 15.0)
    assert 0 < wait(500.0) < 10


def test_many_calls_wait_for_a_rate_and_for_a_model_that_is_slow():
    rate = Left(allowance=Allowance(unit="requests", span=Span.MINUTE, amount=5), used=0, until=NOW)
    day = Left(allowance=DAILY.model_copy(update={"amount": 20}), used=0, until=NOW + timedelta(hours=18))
    known = facts(CloudFact(model=GROQ, left=(rate, day)), calls=40, call_seconds={"7.6b": 3.0})
    by_tier = {candidate.tier: candidate for candidate in choose(write(), known).candidates}
    assert by_tier["groq/big"].work_seconds >= 7 * 60
    assert "20 of 20 requests a day left, for 40 calls" in by_tier["groq/big"].reason
    assert by_tier["heavy"].work_seconds == 120.0


def test_what_would_be_late_is_kept_in_reserve():
    request = write(due_at=NOW + timedelta(minutes=2))
    route = choose(request, facts(CloudFact(model=GROQ, left=left(0)), ahead=9))
    assert order(route)[0] == "groq/big" and [candidate.tier for candidate in route.late] == ["heavy"]
    assert "would miss 06:02 UTC" in refused(route)["heavy"]


def test_a_refusal_that_is_over_by_itself_says_when():
    cooling = CloudFact(model=GROQ, closed_until=NOW + timedelta(minutes=12), closed_why="429")
    [refusal] = [one for one in choose(write(), facts(cooling)).refusals if one.tier == "groq/big"]
    assert refusal.until == NOW + timedelta(minutes=12)
    [never] = [one for one in choose(write(), facts(CloudFact(model=PAID))).refusals if one.tier == "openai/large"]
    assert never.until is None


def test_reasons_say_what_is_so():
    small = GROQ.model_copy(update={"parameters_billion": 3.0})
    [there] = [c for c in choose(write(), facts(CloudFact(model=small))).candidates if c.cloud]
    assert there.reason.startswith("a model elsewhere, free")
    quick = {c.tier: c.reason for c in choose(write(quality=Quality.QUICK), facts()).candidates}
    assert quick["tiny"].startswith("will do for quick work")


def test_a_model_with_a_context_that_is_enough_for_this_work_is_resident():
    held = Held(
        resident_id=1,
        engine="ollama",
        model="7.6b",
        context_tokens=2048,
        line="gpu",
        memory_mib=100,
        idle_seconds=1,
        age_seconds=9,
        busy=False,
    )
    for tokens, said in ((500, "; resident"), (3000, "; to be loaded")):
        route = choose(write(privacy=None), facts(residents=(held,), counted_tokens=tokens))
        assert said in {candidate.tier: candidate.reason for candidate in route.candidates}["heavy"]


def test_a_load_under_pressure_is_dearer_than_a_model_that_is_there():
    request = ModelRequest(kind=Kind.CLASSIFY, prompt="x", choices=("a", "b"))
    medians = {"gpu": 60.0, "cpu": 200.0}
    assert order(choose(request, facts(median_seconds=medians, gains=Gains(of_kind=EVEN))))[0] == "heavy"
    pressed = facts(median_seconds=medians, gains=Gains(of_kind=EVEN), rung=Rung.TRIM)
    calm, tight = (choose(request, known).candidates[0] for known in (facts(gains=Gains(of_kind=EVEN)), pressed))
    assert "while the governor is at trim" in tight.reason and tight.price_seconds > calm.price_seconds


EVEN = {model: Tally(tried=1000, verified=900) for model in ("7.6b", "0.5b")}


@pytest.mark.parametrize(
    ("one", "other", "counts"),
    [
        (None, None, None),
        (None, Privacy.PUBLIC, Privacy.PUBLIC),
        (Privacy.PUBLIC, Privacy.LOCAL_ONLY, Privacy.LOCAL_ONLY),
        (Privacy.NO_TRAINING, Privacy.PUBLIC, Privacy.NO_TRAINING),
    ],
)
def test_of_two_who_speak_of_privacy_the_stricter_one_counts(
    one: Privacy | None, other: Privacy | None, counts: Privacy | None
):
    assert stricter(one, other) is stricter(other, one) is counts


def test_a_specialist_comes_first_in_its_own_work_and_is_never_asked_for_another():
    coder = spec("gpu", 7.6, model="coder", kinds=[Kind.CODE])
    profile = PROFILE.model_copy(update={"tiers": {**PROFILE.tiers, "coder": coder}})
    code = choose(ModelRequest(kind=Kind.CODE, prompt="x"), facts(profile=profile))
    assert order(code)[0] == "coder" and code.candidates[0].reason.startswith("made for code")
    assert refused(choose(write(), facts(profile=profile)))["coder"] == "is for code only"


def test_vectors_come_from_a_model_that_makes_them_or_from_nobody():
    request = ModelRequest(kind=Kind.EMBED, prompt="embed", inputs={"a": "text"})
    nobody = choose(request, facts())
    assert nobody.candidates == () and refused(nobody)["tiny"] == "makes no vectors"
    embedder = spec("cpu", 0.1, model="minilm", kinds=[Kind.EMBED])
    profile = PROFILE.model_copy(update={"tiers": {**PROFILE.tiers, "embedder": embedder}})
    assert order(choose(request, facts(profile=profile))) == ["embedder"]
