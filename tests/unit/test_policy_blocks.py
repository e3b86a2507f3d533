"""The operator's documents: what they become, and that a broken one counts as the defaults."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from typing import Any

import httpx
import pytest
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks import router, run
from blocks.agent import agent
from blocks.cloud_tier import CloudTier
from blocks.document import load_or_default
from blocks.parameters import AgentParameters
from blocks.policy import GovernorPolicy, current_rules
from blocks.router import ModelRouter, current_router
from deployments.bootstrap import block_types
from governor.accounts import CloudAccount
from governor.answers import Asked, no_answer
from governor.batch import Mandate
from governor.policy.facts import Kind
from governor.policy.refusing import RoutingRules
from governor.policy.requests import Candidate, ModelRequest, Privacy, Quality
from governor.policy.rules import Rules
from governor.settings import Home
from governor.standing import keep_rules
from governor.tier_catalogue import catalogue

DUE = datetime(2026, 11, 20, 7, 0, tzinfo=UTC)


def refuse(error: Exception) -> Callable[..., Any]:
    def load(*_: Any, **__: Any) -> Any:
        raise error

    return load


REQUEST = httpx.Request("GET", "http://x")
BROKEN = [
    ValueError("Unable to find block document named default"),
    RuntimeError("Unable to load 'default' due to failed validation"),
    httpx.ConnectError("connection refused"),
    httpx.HTTPStatusError("401", request=REQUEST, response=httpx.Response(401)),
]


@pytest.mark.parametrize("error", BROKEN, ids=lambda e: type(e).__name__)
def test_a_document_that_cannot_be_had_counts_as_the_defaults(
    error: Exception, monkeypatch: pytest.MonkeyPatch, hotdesk_home: Home
):
    monkeypatch.setattr(GovernorPolicy, "load", refuse(error))
    assert current_rules() == Rules()


MISSING = ValueError("Unable to find block document named default")
MISSING.__cause__ = ObjectNotFound(httpx.HTTPStatusError("404", request=REQUEST, response=httpx.Response(404)))
CLOSED = ModelRouter(allow_cloud=False, ceiling_usd_per_day=0)


@pytest.mark.parametrize(
    ("error", "router_then"),
    [
        (MISSING, ModelRouter()),
        *((error, CLOSED) for error in BROKEN),
        (json.JSONDecodeError("what a proxy says", "<html>", 0), CLOSED),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_router_that_cannot_be_read_calls_no_cloud_and_a_missing_one_has_the_defaults(
    error: Exception, router_then: ModelRouter, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ModelRouter, "load", refuse(error))
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert current_router() == router_then


def test_without_a_server_the_router_has_its_defaults():
    with temporary_settings({PREFECT_API_URL: None}):  # and no server of its own: see conftest
        assert current_router() == ModelRouter()


@pytest.mark.parametrize("error", BROKEN, ids=lambda e: type(e).__name__)
def test_a_dry_run_is_not_over_because_the_server_is_silent(
    error: Exception, monkeypatch: pytest.MonkeyPatch, hotdesk_home: Home
):
    keep_rules(Rules(dry_run=True))
    monkeypatch.setattr(GovernorPolicy, "load", refuse(error))
    assert current_rules().dry_run == (error is not BROKEN[0])  # the first: there is no document


def test_a_document_of_another_kind_counts_as_the_defaults(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ModelRouter, "load", lambda _: GovernorPolicy())
    assert load_or_default(ModelRouter) == ModelRouter()
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert current_router() == CLOSED
    monkeypatch.setattr(GovernorPolicy, "load", lambda _: ModelRouter())
    assert current_rules() == Rules()


def test_the_defaults_of_the_block_are_those_of_the_governor():
    assert GovernorPolicy().rules() == Rules()


def test_what_the_operator_wrote_becomes_the_rules():
    rules = GovernorPolicy(models_high_percent=80, models_low_percent=60, keep_alive_seconds=30, dry_run=True).rules()
    assert (rules.marks[0].high, rules.marks[0].low) == (80, 60)
    assert (rules.keep_alive_seconds, rules.dry_run) == (30, True)


def test_an_impossible_pair_of_marks_is_replaced_and_the_rest_kept():
    rules = GovernorPolicy(vram_free_high_mib=500, vram_free_low_mib=100, host_available_high_percent=5).rules()
    assert rules.marks[1] == Rules().marks[1]
    host = next(mark for mark in rules.marks if mark.reading == "host_available_percent")
    assert (host.high, host.low) == (5, 15)


def test_a_night_that_a_form_sends_with_an_offset_is_meant_by_the_clock_of_the_zone():
    form = {"night_from": "23:00:00Z", "night_until": "07:00:00+02:00", "time_zone": "Europe/Berlin"}
    policy = GovernorPolicy.model_validate(form)
    assert (policy.night_from, policy.night_until) == (time(23, 0), time(7, 0))
    hours = policy.rules().hours
    assert hours.is_night(datetime(2026, 11, 20, 22, 0, tzinfo=UTC))
    assert not hours.is_night(datetime(2026, 11, 20, 6, 0, tzinfo=UTC))


class Asking:
    """FAKE `governor.asking.ask_all`: keeps what it was asked for, and how."""

    def __init__(self) -> None:
        self.requests: Sequence[ModelRequest] = ()
        self.mandate = Mandate("")
        self.how: dict[str, Any] = {}

    def __call__(self, requests: Sequence[ModelRequest], mandate: Mandate, **how: Any) -> Asked:
        self.requests, self.mandate, self.how = requests, mandate, how
        return Asked()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asking:
    fake = Asking()
    monkeypatch.setattr(router, "ask_all", fake)
    return fake


class Keys:
    """FAKE accounts of this process; counts how often they are read."""

    def __init__(self) -> None:
        self.accounts, self.read = (CloudAccount(catalogue()["groq/gpt-oss-20b"]),), 0

    def __call__(self) -> tuple[CloudAccount, ...]:
        self.read += 1
        return self.accounts


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Keys:
    fake = Keys()
    monkeypatch.setattr(router, "current_accounts", fake)
    return fake


def request(**said: Any) -> ModelRequest:
    return ModelRequest.model_validate({"kind": Kind.WRITE, "prompt": "x", **said})


def test_the_due_time_of_the_run_reaches_the_requests(asked: Asking):
    own = DUE.replace(hour=6)
    ModelRouter(patience_seconds=77).ask_all(
        [request(), request(due_at=own)], mandate=Mandate("digest/news", due_at=DUE)
    )
    assert [one.due_at for one in asked.requests] == [DUE, own]
    assert (asked.mandate.patience_seconds, asked.mandate.due_at) == (77, DUE)


def test_what_an_agent_is_told_of_time_reaches_the_desk(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch):
    told: list[Mandate] = []

    class FakeRouter:
        """FAKE: keeps the mandate, and has no answer."""

        def ask_all(self, requests: Sequence[ModelRequest], *, mandate: Mandate) -> Asked:
            told.append(mandate)
            return Asked([no_answer(Candidate(tier="fake", reason="a fake"), "none") for _ in requests])

        def largest_billion(self, request: ModelRequest) -> float:
            return 0.0

    monkeypatch.setattr(run, "current_router", FakeRouter)
    with agent(AgentParameters(source="x", patience_seconds=70, max_seconds=45)) as one:
        one.ask_all([request()])
    assert told == [Mandate("agent/by-hand", 70, bound_seconds=45)]


def test_always_quick_wishes_for_the_small_model(asked: Asking):
    ModelRouter(always_quick=True).ask_all([request(quality=Quality.GOOD)], mandate=Mandate("a", 1))
    assert asked.requests[0].quality is Quality.QUICK


def test_the_privacy_of_the_run_fills_what_a_request_does_not_say(asked: Asking, keys: Keys):
    own = request(privacy=Privacy.NO_TRAINING)
    ModelRouter().ask_all([request(), own], mandate=Mandate("a"), privacy=Privacy.PUBLIC)
    assert [one.privacy for one in asked.requests] == [Privacy.PUBLIC, Privacy.NO_TRAINING]


@pytest.mark.parametrize(
    ("own", "of_the_run"), [(Privacy.PUBLIC, Privacy.LOCAL_ONLY), (Privacy.LOCAL_ONLY, Privacy.PUBLIC)]
)
def test_of_two_words_on_privacy_the_stricter_one_counts(own: Privacy, of_the_run: Privacy, asked: Asking, keys: Keys):
    ModelRouter().ask_all([request(privacy=own)], mandate=Mandate("a"), privacy=of_the_run)
    assert [one.privacy for one in asked.requests] == [Privacy.LOCAL_ONLY]
    assert keys.read == 0


PUBLIC, NO_TRAINING, LOCAL = Privacy.PUBLIC, Privacy.NO_TRAINING, Privacy.LOCAL_ONLY


@pytest.mark.parametrize(
    ("privacies", "of_the_run", "allowed", "read"),
    [
        ([PUBLIC], None, True, 1),
        ([PUBLIC, NO_TRAINING], None, True, 1),
        ([None], PUBLIC, True, 1),
        ([None], None, True, 0),  # silence is private
        ([LOCAL], PUBLIC, True, 0),
        ([PUBLIC, LOCAL], None, True, 0),  # one private request keeps all of its batch here
        ([PUBLIC, None], None, True, 0),
        ([PUBLIC], None, False, 0),
        ([], PUBLIC, True, 0),
    ],
)
def test_keys_are_read_only_for_a_batch_that_may_leave_the_machine(
    privacies: list[Privacy | None], of_the_run: Privacy | None, allowed: bool, read: int, asked: Asking, keys: Keys
):
    batch = [request(privacy=privacy) for privacy in privacies]
    ModelRouter(allow_cloud=allowed).ask_all(batch, mandate=Mandate("a"), privacy=of_the_run)
    assert keys.read == read
    assert asked.how["accounts"] == (keys.accounts if read else ())


def test_the_defaults_of_the_router_are_the_rules_and_cost_nothing():
    assert ModelRouter().rules() == RoutingRules()
    assert ModelRouter().rules().ceiling_usd == 0


def test_what_the_operator_wrote_becomes_the_rules_of_routing(asked: Asking):
    said = {"allow_gpu": False, "allow_cpu": False, "allow_cloud": False, "explores": False, "cloud_price_seconds": 5}
    ModelRouter.model_validate({**said, "ceiling_usd_per_day": 2}).ask_all([request()], mandate=Mandate("a"))
    assert asked.how["rules"] == RoutingRules.model_validate({**said, "ceiling_usd": 2})


def test_only_what_works_without_a_word_of_the_operator_has_a_default_document():
    """A tier's key is nobody's but the operator's, and a document without one would be a tier that never answers."""
    kinds = {kind: any(info.is_required() for info in kind.model_fields.values()) for kind in block_types()}
    assert kinds == {ModelRouter: False, GovernorPolicy: False, CloudTier: True}
