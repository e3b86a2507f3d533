"""The operator's documents: what they become, and that a broken one counts as the defaults."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from typing import Any

import httpx
import pytest

from blocks import router
from blocks.document import load_or_default
from blocks.policy import GovernorPolicy, current_rules
from blocks.router import ModelRouter, current_router
from governor.asking import Ask, Asked
from governor.policy.facts import Kind, ModelRequest, Quality
from governor.policy.rules import Rules
from governor.settings import Home
from governor.standing import keep_rules

DUE = datetime(2026, 11, 20, 7, 0, tzinfo=UTC)


def refuse(error: Exception) -> Callable[..., Any]:
    def load(*_: Any, **__: Any) -> Any:
        raise error

    return load


BROKEN = [
    ValueError("Unable to find block document named default"),
    RuntimeError("Unable to load 'default' due to failed validation"),
    httpx.ConnectError("connection refused"),
    httpx.HTTPStatusError("401", request=httpx.Request("GET", "http://x"), response=httpx.Response(401)),
]


@pytest.mark.parametrize("error", BROKEN, ids=lambda e: type(e).__name__)
def test_a_document_that_cannot_be_had_counts_as_the_defaults(
    error: Exception, monkeypatch: pytest.MonkeyPatch, hotdesk_home: Home
):
    monkeypatch.setattr(GovernorPolicy, "load", refuse(error))
    monkeypatch.setattr(ModelRouter, "load", refuse(error))
    assert current_rules() == Rules()
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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sequence[Ask], dict[str, Any]]]:
    calls: list[tuple[Sequence[Ask], dict[str, Any]]] = []

    def ask_all(asks: Sequence[Ask], **how: Any) -> Asked:
        calls.append((asks, how))
        return Asked()

    monkeypatch.setattr(router, "ask_all", ask_all)
    return calls


def test_the_due_time_of_the_run_reaches_the_requests(asked: list[Any]):
    own = DUE.replace(hour=6)
    asks = [Ask(ModelRequest(kind=Kind.WRITE, prompt="x")), Ask(ModelRequest(kind=Kind.WRITE, prompt="x", due_at=own))]
    ModelRouter(patience_seconds=77).ask_all(asks, agent="digest/news", due_at=DUE)
    [(sent, how)] = asked
    assert [ask.request.due_at for ask in sent] == [DUE, own]
    assert how["patience_seconds"] == 77


def test_always_quick_wishes_for_the_small_model(asked: list[Any]):
    asks = [Ask(ModelRequest(kind=Kind.WRITE, prompt="x", quality=Quality.GOOD))]
    ModelRouter(always_quick=True).ask_all(asks, agent="a", patience_seconds=1)
    assert asked[0][0][0].request.quality is Quality.QUICK
