"""Which model is used next, by the schedule and the line, and when the schedule is believed."""

from datetime import UTC, datetime, timedelta

import pytest

from governor.policy.facts import Use
from governor.policy.forecast import GRACE, HORIZON, changes, coming, next_use
from governor.policy.trust import REMEMBERED, Trust, observe, trusts_schedule

NOW = datetime(2026, 11, 23, 5, 30, tzinfo=UTC)


def use(model: str, minutes: float) -> Use:
    return Use(model=model, at=NOW + timedelta(minutes=minutes))


def test_the_next_use_is_the_earliest_one_ahead():
    assert next_use([use("a", 90), use("a", 20), use("b", 5)], "a", NOW) == NOW + timedelta(minutes=20)


def test_a_model_that_nobody_foretold_has_no_next_use():
    assert next_use([use("b", 5)], "a", NOW) is None
    assert next_use([], "a", NOW) is None


def test_a_use_that_is_a_little_late_is_due_now_and_one_that_is_very_late_is_not_expected():
    late = Use(model="a", at=NOW - GRACE)
    gone = Use(model="a", at=NOW - GRACE - timedelta(seconds=1))
    assert next_use([late], "a", NOW) == NOW
    assert next_use([gone], "a", NOW) is None
    assert next_use([gone, use("a", 7)], "a", NOW) == NOW + timedelta(minutes=7)
    assert coming([late, gone], (), NOW) == ("a",)


def test_the_line_comes_before_the_schedule():
    assert coming([use("c", -1), use("d", 10)], ("a", "b"), NOW) == ("a", "b", "c", "d")


def test_uses_come_in_the_order_of_their_times_and_those_of_one_time_as_they_were_told():
    assert coming([use("c", 10), use("b", 5), use("a", 10)], (), NOW) == ("b", "c", "a")


def test_only_changes_of_the_model_count_and_no_more_than_the_horizon():
    assert changes(["a", "a", "b", "b", "a"]) == ("a", "b", "a")
    assert len(changes(["a", "b"] * HORIZON)) == HORIZON
    assert coming([use("a", 1), use("b", 2)], ("a", "a"), NOW) == ("a", "b")


def played(uses: str, said: str) -> Trust:
    """The record after `uses`, where `said[i]` is who was foretold to come after `uses[i]`."""
    trust = Trust()
    for model, next_model in zip(uses, said, strict=True):
        trust = observe(trust, model, waiting=(), coming=(next_model,))
    return trust


@pytest.mark.parametrize(
    ("uses", "said", "believed"),
    [
        ("", "", False),
        ("abc", "bca", False),  # two changes are too few
        ("abca", "bcab", True),
        ("abca", "ccab", True),  # two of three
        ("abcab", "cabcc", False),
        ("abcab", "bcbaa", True),  # half is enough
    ],
)
def test_the_schedule_is_believed_while_half_of_the_latest_changes_were_foretold(uses, said, believed):
    assert trusts_schedule(played(uses, said)) is believed


def test_the_same_model_again_is_no_proof_of_foresight_but_a_wrong_word_about_it_counts():
    assert played("aaaaaa", "aaaaaa").right == ()
    assert played("aaa", "bbb").right == (False, False)


def test_what_waits_in_line_proves_nothing_about_the_schedule():
    trust = observe(Trust(), "a", waiting=("b",), coming=("b", "c"))
    assert observe(trust, "b", waiting=(), coming=()).right == ()


def test_old_proofs_are_forgotten_so_a_schedule_can_lose_trust_and_win_it_back():
    liar = played("ab" * REMEMBERED, "ab" * REMEMBERED)
    assert not trusts_schedule(liar)
    honest = liar
    for model, next_model in ["ab", "ba"] * (REMEMBERED // 2 + 1):
        honest = observe(honest, model, waiting=(), coming=(next_model,))
    assert trusts_schedule(honest)
    assert len(honest.right) == REMEMBERED
    assert str(honest) == f"the schedule foretold {REMEMBERED} of the last {REMEMBERED} changes of model"


def test_the_record_survives_json_and_is_small():
    trust = played("abcd" * 20, "bcda" * 20)
    assert Trust.model_validate_json(trust.model_dump_json()) == trust
    assert len(trust.model_dump_json()) < 300
