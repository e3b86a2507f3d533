"""Laws of the route, for any request, machine, line, allowance and history."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from governor.policy import allowance
from governor.policy.adequacy import does
from governor.policy.allowance import Left
from governor.policy.facts import Kind, Rung
from governor.policy.gains import Gains, Tally
from governor.policy.refusing import CloudFact, RoutingRules
from governor.policy.requests import Allowance, CloudModel, ModelRequest, Privacy, Quality, Span
from governor.policy.routing import RoutingFacts, choose, expected_wait_seconds
from governor.policy.tokens import needed_tokens
from tests.unit.test_routing import NOW, PROFILE

soon = st.integers(-600, 6000).map(lambda seconds: NOW + timedelta(seconds=seconds))
requests = st.builds(
    ModelRequest,
    kind=st.sampled_from(Kind),
    prompt=st.integers(1, 20_000).map(lambda n: "x" * n),
    privacy=st.sampled_from([None, *Privacy]),
    quality=st.sampled_from([None, *Quality]),
    max_tokens=st.integers(1, 4096),
    due_at=st.none() | soon,
    choices=st.sampled_from([None, ("a", "b")]),
)
allowances = st.builds(
    Allowance, unit=st.sampled_from(["requests", "tokens"]), span=st.sampled_from(Span), amount=st.just(100)
)
lefts = st.builds(Left, allowance=allowances, used=st.integers(0, 120), until=soon)
models = st.builds(
    CloudModel,
    name=st.sampled_from(["a/one", "b/two", "c/three", "d/four"]),
    calls=st.just("openai/x"),
    context_tokens=st.sampled_from([512, 8192, 128_000]),
    parameters_billion=st.sampled_from([8.0, 70.0, 400.0]),
    trains=st.sampled_from(["yes", "no", "unknown"]),
    free=st.booleans(),
    input_usd=st.none() | st.floats(0, 10),
    output_usd=st.none() | st.floats(0, 10),
    kinds=st.sampled_from([frozenset(), frozenset({Kind.CODE}), frozenset({Kind.EMBED})]),
)
clouds = st.lists(
    st.builds(
        CloudFact,
        model=models,
        left=st.lists(lefts, max_size=3).map(tuple),
        closed_until=st.none() | soon,
        closed_why=st.just("429"),
        spent_usd=st.floats(0, 5),
    ),
    max_size=4,
    unique_by=lambda cloud: cloud.model.name,
).map(tuple)
rules = st.builds(
    RoutingRules,
    allow_gpu=st.booleans(),
    allow_cpu=st.booleans(),
    allow_cloud=st.booleans(),
    ceiling_usd=st.sampled_from([0.0, 1.0]),
)
tallies = st.integers(0, 50).flatmap(lambda n: st.builds(Tally, tried=st.just(n), verified=st.integers(0, n)))
histories = st.dictionaries(st.sampled_from(["model-gpu", "model-cpu", "a/one"]), tallies)


@st.composite
def known(draw: st.DrawFn) -> RoutingFacts:
    return RoutingFacts(
        profile=PROFILE.model_copy(update={"memory_budget_mib": draw(st.floats(100, 300))}),
        ahead={
            "gpu": ("model-gpu",) * draw(st.integers(0, 60)),
            "cpu": ("model-cpu",) * draw(st.integers(0, 60)),
        },
        median_seconds=draw(st.dictionaries(st.sampled_from(["gpu", "cpu", "gpu/model-gpu"]), st.floats(0, 600))),
        rung=draw(st.sampled_from(Rung)),
        rules=draw(rules),
        paused=draw(st.dictionaries(st.sampled_from(["gpu", "cpu"]), st.just("closed"))),
        clouds=draw(clouds),
        gains=Gains(of_kind=draw(histories), of_agent=draw(histories)),
        draw=draw(st.floats(0, 1)),
        now=NOW,
    )


@given(requests, known())
def test_a_route_fits_the_machine_and_names_every_tier_once(request: ModelRequest, facts: RoutingFacts):
    route, needed = choose(request, facts), needed_tokens(request)
    for candidate in route.candidates:
        model = candidate.spec or candidate.cloud
        assert model is not None and needed <= model.context_tokens and does(model.kinds, request.kind)
        assert candidate.reason and candidate.chance > 0
        if candidate.spec is not None:
            assert candidate.spec == facts.profile.tiers[candidate.tier]
            assert candidate.spec.expected_mib <= facts.profile.memory_budget_mib
            assert facts.rules.allows(candidate.spec.line)
    named = [c.tier for c in route.candidates] + [r.tier for r in route.refusals]
    private = request.allowed is Privacy.LOCAL_ONLY or not facts.clouds
    others = ["cloud"] if private else [cloud.model.name for cloud in facts.clouds]
    assert sorted(named) == sorted([*facts.profile.tiers, *others])
    assert all(refusal.reason for refusal in route.refusals)


@given(requests, known())
def test_no_route_leads_where_words_allowance_or_money_forbid(request: ModelRequest, facts: RoutingFacts):
    by_name = {cloud.model.name: cloud for cloud in facts.clouds}
    for candidate in choose(request, facts).candidates:
        if candidate.cloud is None:
            continue
        cloud = by_name[candidate.tier]
        assert facts.rules.allow_cloud and request.allowed is not Privacy.LOCAL_ONLY
        assert cloud.model.trains == "no" or request.allowed is Privacy.PUBLIC
        assert cloud.closed_until is None or cloud.closed_until <= facts.now
        due = request.due_at is not None
        assert allowance.shut(cloud.left, tokens=needed_tokens(request), due=due, now=facts.now) is None
        if not cloud.model.free:
            usd = cloud.model.usd(needed_tokens(request) - request.max_tokens, request.max_tokens)
            assert usd is not None and cloud.spent_usd + usd <= facts.rules.ceiling_usd


@given(requests, known(), st.integers(1, 20))
def test_a_longer_line_never_brings_a_tier_forward(request: ModelRequest, facts: RoutingFacts, more: int):
    calm = facts.model_copy(update={"draw": 1.0})
    gpu = calm.ahead.get("gpu", ())
    longer = calm.model_copy(update={"ahead": {**calm.ahead, "gpu": (*gpu, *("model-gpu",) * more)}})
    assert expected_wait_seconds("gpu", longer) >= expected_wait_seconds("gpu", calm)
    before = [candidate.tier for candidate in choose(request, calm).candidates]
    after = [candidate.tier for candidate in choose(request, longer).candidates]
    if "heavy" in after and "heavy" in before and request.due_at is None:
        assert after.index("heavy") >= before.index("heavy")


@given(requests, known())
def test_a_due_time_that_somebody_can_make_is_made(request: ModelRequest, facts: RoutingFacts):
    route = choose(request, facts)
    if request.due_at is None or request.due_at <= facts.now or not route.candidates:
        return
    left = (request.due_at - facts.now).total_seconds()
    in_time = [c.wait_seconds + c.work_seconds <= left for c in route.candidates]
    assert all(in_time) or len(route.candidates) == 1
    assert {c.tier for c in route.late} <= {refusal.tier for refusal in route.refusals}


@given(requests, known())
def test_a_trial_is_of_a_candidate_that_would_not_come_first(request: ModelRequest, facts: RoutingFacts):
    route = choose(request, facts)
    if route.trial is not None:
        assert request.due_at is None and request.is_checked and facts.rules.explores
        assert route.trial.tier in [candidate.tier for candidate in route.candidates[1:]]
