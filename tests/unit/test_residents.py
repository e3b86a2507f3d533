"""`hotdesk residents`: what an operator sees and says about models in memory."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from deployments.residents import Wishes, run_residents
from governor.errors import BadInput
from governor.processes import identify
from governor.settings import Home
from governor.state.residents import ExpectedUse, Keeping, Resident
from governor.state.sessions import reading, transaction


def resident(model: str, **fields: object) -> None:
    now = datetime.now(UTC)
    row = {"engine": "embedded", "model": model, "context_tokens": 2048, "line": "cpu", "state": "resident"}
    times = {"loaded_at": now - timedelta(hours=1), "last_used_at": now - timedelta(seconds=90)}
    with transaction() as session:
        session.add(Resident(**{**row, **times, "memory_mib": 250.0, **fields}))


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
