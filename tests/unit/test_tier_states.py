"""A tier that one process saw refuse or fail is spared by all: growing pauses, closures, and a person's way out."""

from datetime import UTC, datetime, timedelta
from hashlib import blake2b, sha256

import pytest
from pydantic import SecretStr

from governor import tier_states
from governor.accounts import CloudAccount
from governor.settings import Home
from governor.state.sessions import reading
from governor.state.tiers import TierState
from governor.tier_states import Closed, close, closed, failed, open_to_another_key, reopen, succeeded
from tests.unit.cloud_stage import cloud_account

pytestmark = pytest.mark.usefixtures("hotdesk_home")
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TIER, OTHER = "groq/big", "groq/small"
WRONG, RIGHT = "FAKE-key-wrong-5c1e", "FAKE-key-right-9d2f"


def account(key: str, tier: str = TIER) -> CloudAccount:
    return cloud_account(None, tier, key)


def close_for_the_key(*tiers: str) -> None:
    until = NOON + timedelta(hours=1)
    close(tiers, until, closed_for="key", why="groq does not accept the key", now=NOON, secrets=(SecretStr(WRONG),))


def seconds_closed(now: datetime) -> float:
    return (closed(now)[TIER].until - now).total_seconds()


def test_a_closed_tier_says_until_when_for_what_and_why_and_opens_by_itself():
    until = NOON + timedelta(hours=12)
    close(TIER, until, closed_for="quota", why="groq says that its allowance for a day is spent", now=NOON)
    reason = "groq says that its allowance for a day is spent"
    assert closed(NOON) == {TIER: Closed(until=until, closed_for="quota", why=reason)}
    assert closed(until - timedelta(seconds=1)) != {}
    assert closed(until) == {}


def test_failures_in_a_row_close_it_longer_and_longer_and_a_success_begins_anew():
    now, pauses = NOON, []
    for _ in range(7):
        failed(TIER, "no answer", now)
        pauses.append(seconds_closed(now))
        now += timedelta(seconds=pauses[-1])
    assert pauses == [30, 60, 120, 240, 480, 600, 600]
    succeeded(TIER, now)
    failed(TIER, "no answer", now)
    assert seconds_closed(now) == 30


def test_failures_of_calls_that_began_before_the_pause_make_it_no_longer():
    for _ in range(8):
        failed(TIER, "no answer", NOON)
    assert seconds_closed(NOON) == 30
    failed(TIER, "no answer", NOON + timedelta(seconds=30))
    assert seconds_closed(NOON + timedelta(seconds=30)) == 60


def test_a_shorter_closure_never_ends_a_longer_one():
    midnight = NOON + timedelta(hours=12)
    close(TIER, midnight, closed_for="quota", why="spent", now=NOON)
    close(TIER, NOON + timedelta(seconds=20), closed_for="rate", why="too many", now=NOON)
    failed(TIER, "no answer", NOON)
    assert closed(NOON)[TIER] == Closed(until=midnight, closed_for="quota", why="spent")
    close(TIER, midnight + timedelta(hours=1), closed_for="key", why="no key", now=NOON)
    assert closed(NOON)[TIER].closed_for == "key"
    failed(TIER, "no answer", midnight + timedelta(hours=1))  # the one before was counted
    assert seconds_closed(midnight + timedelta(hours=1)) == 60


def test_a_success_ends_the_pause_of_failures_and_no_closure_of_the_provider():
    failed(TIER, "no answer", NOON)
    succeeded(TIER, NOON)
    assert closed(NOON) == {}
    close(TIER, NOON + timedelta(hours=1), closed_for="quota", why="spent", now=NOON)
    failed(TIER, "no answer", NOON)
    succeeded(TIER, NOON)  # an answer to a call that began before
    assert closed(NOON)[TIER].closed_for == "quota"


def test_a_success_where_nothing_failed_writes_nothing(hotdesk_home: Home):
    succeeded(TIER, NOON)
    with reading() as session:
        assert session.get(TierState, TIER) is None
    failed(TIER, "no answer", NOON)
    succeeded(TIER, NOON)
    succeeded(TIER, NOON + timedelta(hours=1))
    with reading() as session:
        assert session.get_one(TierState, TIER).updated_at == NOON


def test_a_person_opens_it_and_hears_whether_it_was_closed():
    close(TIER, NOON + timedelta(hours=1), closed_for="key", why="no key", now=NOON)
    assert reopen(TIER)
    assert closed(NOON) == {}
    assert not reopen(TIER)
    assert not reopen("nobody/knows")


def test_nothing_is_closed_for_longer_than_any_allowance_lasts():
    close(TIER, NOON + timedelta(days=4000), closed_for="quota", why="spent", now=NOON)
    assert closed(NOON)[TIER].until == NOON + tier_states.LONGEST


def test_what_a_clock_closed_that_was_years_ahead_is_open():
    ahead = NOON + timedelta(days=1000)
    close(TIER, ahead + timedelta(hours=1), closed_for="quota", why="spent", now=ahead)
    assert closed(NOON) == {}
    close(TIER, NOON + timedelta(seconds=20), closed_for="rate", why="too many", now=NOON)
    assert seconds_closed(NOON) == 20


def test_a_clock_that_is_set_back_opens_nothing():
    close(TIER, NOON + timedelta(minutes=5), closed_for="rate", why="too many", now=NOON)
    assert TIER in closed(NOON - timedelta(hours=1))


def test_several_tiers_are_closed_at_once_and_each_keeps_what_closes_it_for_longer():
    close(OTHER, NOON + timedelta(hours=9), closed_for="quota", why="spent", now=NOON)
    close((TIER, OTHER), NOON + timedelta(hours=1), closed_for="rate", why="too many", now=NOON)
    assert {tier: shut.closed_for for tier, shut in closed(NOON).items()} == {TIER: "rate", OTHER: "quota"}


def test_a_late_success_brings_no_model_back_that_the_provider_has_no_more():
    failed(TIER, "no answer", NOON)
    close(TIER, NOON + timedelta(hours=1), closed_for="gone", why="groq has no such model", now=NOON)
    succeeded(TIER, NOON)
    assert closed(NOON)[TIER].closed_for == "gone"


def test_a_tier_whose_key_was_refused_is_open_to_another_key_at_once():
    close_for_the_key(TIER, OTHER)
    assert set(closed(NOON, [account(WRONG), account(RIGHT, OTHER)])) == {TIER}
    assert not open_to_another_key(account(WRONG), NOON)
    assert open_to_another_key(account(RIGHT), NOON)
    assert set(closed(NOON)) == {OTHER}
    assert not open_to_another_key(account(RIGHT), NOON)


def test_another_key_opens_nothing_that_was_closed_for_another_reason():
    close(TIER, NOON + timedelta(hours=1), closed_for="quota", why="spent", now=NOON)
    assert TIER in closed(NOON, [account(RIGHT)])
    close_for_the_key(OTHER)  # there is a salt now
    assert TIER in closed(NOON, [account(RIGHT)])
    assert not open_to_another_key(account(RIGHT), NOON)


def test_of_a_refused_key_a_few_salted_bytes_are_kept(hotdesk_home: Home):
    close_for_the_key(TIER)
    kept = b"".join(path.read_bytes() for path in hotdesk_home.root.rglob("*") if path.is_file())
    assert WRONG.encode() not in kept
    digest = closed(NOON)[TIER].key_digest
    assert digest is not None and len(digest) == 16
    assert digest not in (blake2b(WRONG.encode(), digest_size=8).hexdigest(), sha256(WRONG.encode()).hexdigest()[:16])
