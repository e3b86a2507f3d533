"""`hotdesk residents`: what an operator sees and says about models in memory."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from deployments.residents import Wishes, run_residents
from governor.errors import BadInput
from governor.processes import identify
from governor.profile import current_profile
from governor.settings import Home
from governor.state.residents import ExpectedUse, Keeping, LearnedFootprint, Resident
from governor.state.sessions import reading, transaction


def resident(model: str, **fields: object) -> None:
    now = datetime.now(UTC)
    row = {"engine": "embedded", "model": model, "context_tokens": 2048, "line": "cpu", "state": "resident"}
    times = {"loaded_at": now - timedelta(hours=1), "last_used_at": now - timedelta(seconds=90)}
    with transaction() as session:
        session.add(Resident(**{**row, **times, "memory_mib": 250.0, **fields}))


def learned(model: str) -> None:
    key = {"engine": "embedded", "model": model, "context_tokens": 2048, "cache_type": "f16", "engine_slots": 1}
    with transaction() as session:
        session.add(LearnedFootprint(**key, place="ram", measured_at=datetime.now(UTC)))


def shown() -> dict[str, dict[str, object]]:
    return {row["model"]: row for row in json.loads(run_residents(Wishes(), as_json=True))["residents"]}


def test_it_says_who_is_in_memory_since_when_and_until_when(hotdesk_home: Home):
    resident("a")
    resident("b", state="unloading", stuck_at=datetime.now(UTC))
    with transaction() as session:
        session.add(ExpectedUse(at=datetime.now(UTC) + timedelta(minutes=30), agent="x/y", model="a"))
    text = run_residents(Wishes())
    assert "ram: a, 2048 tokens (f16), 250 MiB: idle for 90 s of 600 s, next use in 30 min" in text
    assert "ram: b, 2048 tokens (f16), 250 MiB: gave nothing back" in text
    assert "% in use by everybody" in text


def test_a_pin_and_a_keep_alive_are_kept_and_taken_back(hotdesk_home: Home):
    resident("a")
    assert "a is pinned" in run_residents(Wishes(pin="a"))
    run_residents(Wishes(keep="a=1800"))
    assert (shown()["a"]["pinned"], shown()["a"]["keep_alive_seconds"]) == (True, 1800)
    run_residents(Wishes(unpin="a", keep="a=usual"))
    assert (shown()["a"]["pinned"], shown()["a"]["keep_alive_seconds"]) == (False, 600)


@pytest.mark.parametrize("wish", [Wishes(pin="typo"), Wishes(unpin="typo"), Wishes(keep="typo=60")])
def test_a_name_that_no_model_has_is_refused_with_those_that_one_has(hotdesk_home: Home, wish: Wishes):
    resident("inside")
    resident("was-here", state="gone")
    learned("loaded-once")
    with pytest.raises(BadInput, match="'typo'") as refused:
        run_residents(wish)
    known = {*(spec.model for spec in current_profile().tiers.values()), "inside", "loaded-once"}
    assert refused.value.remedy == f"Use one of: {', '.join(sorted(known))}."
    with reading() as session:
        assert session.get(Keeping, "typo") is None


def test_a_model_that_was_loaded_once_or_that_a_tier_names_may_be_pinned(hotdesk_home: Home):
    learned("loaded-once")
    of_a_tier = next(iter(current_profile().tiers.values())).model
    for model in ("loaded-once", of_a_tier):
        assert f"{model} is pinned" in run_residents(Wishes(pin=model))


def test_what_was_said_of_a_model_that_is_not_known_any_more_can_be_taken_back_and_not_said_anew(hotdesk_home: Home):
    with transaction() as session:
        session.add(Keeping(model="old", pinned=True, keep_alive_seconds=60))
    run_residents(Wishes(unpin="old", keep="old=usual"))
    with reading() as session:
        kept = session.get_one(Keeping, "old")
    assert (kept.pinned, kept.keep_alive_seconds) == (False, None)
    with pytest.raises(BadInput, match="'old'"):
        run_residents(Wishes(pin="old"))


@pytest.mark.parametrize(
    "second", [Wishes(pin="a", keep="a=soon"), Wishes(pin="a", unpin="typo"), Wishes("a", evict="b")]
)
def test_of_two_wishes_none_is_done_when_one_cannot_be(hotdesk_home: Home, second: Wishes):
    resident("a")
    with pytest.raises(BadInput):
        run_residents(second)
    assert shown()["a"]["pinned"] is False


@pytest.mark.parametrize("mistake", ["a", "a=", "=5", "a=soon", "a=-1", "a=nan", "a=inf"])
def test_a_keep_alive_that_is_none_changes_nothing(hotdesk_home: Home, mistake: str):
    with pytest.raises(BadInput, match="MODEL=SECONDS"):
        run_residents(Wishes(keep=mistake))
    with reading() as session:
        assert session.get(Keeping, "a") is None


def test_an_idle_model_is_evicted_by_hand_and_one_that_is_not_there_is_named(hotdesk_home: Home):
    resident("a")
    assert run_residents(Wishes(evict="a", dry_run=True)).startswith("would evict a (250 MiB)")
    assert run_residents(Wishes(evict="a")).startswith("evicted a")
    assert shown() == {}
    with pytest.raises(BadInput, match="a is not in memory"):
        run_residents(Wishes(evict="a"))
    assert run_residents(Wishes(evict="all")).startswith("ram:")


def test_a_dry_run_says_what_the_flow_would_evict(hotdesk_home: Home):
    me = identify()
    here = {"boot_id": me.boot_id, "pid_namespace": me.pid_namespace, "pid": me.pid, "start_ticks": me.start_ticks}
    resident("a", last_used_at=datetime.now(UTC) - timedelta(hours=2), **here)
    assert run_residents(Wishes(dry_run=True)).startswith("would evict a at 2048 tokens")
    assert "a" in shown()


def test_a_dry_run_finishes_nothing_that_was_left_half_unloaded(hotdesk_home: Home):
    resident("a", state="unloading")
    assert "nothing would be evicted now" in run_residents(Wishes(dry_run=True))
    assert shown()["a"]["state"] == "unloading"
