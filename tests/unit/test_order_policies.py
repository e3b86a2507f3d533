"""The two opt-in orders pass within their bounds, and first come, first served is the rest."""

import pytest

from governor.policy.ordering import Choice, Order, OrderRules, Waiter, next_up

AFFINITY = OrderRules(order=Order.AFFINITY, overtakes_at_most=2, never_after_seconds=100)
DEADLINE = OrderRules(order=Order.DEADLINE, overtakes_at_most=2, never_after_seconds=100)


def waiter(ticket_id: int, **facts) -> Waiter:
    return Waiter(ticket_id, **{"model": "7b", "work_seconds": 10.0, **facts})


@pytest.mark.parametrize(
    ("waiters", "expected"),
    [
        ([waiter(1), waiter(2)], Choice(1)),
        ([waiter(1, dead=True), waiter(2)], Choice(2)),
        ([waiter(1, asleep=True), waiter(2)], Choice(2)),
        ([waiter(1, claiming=True), waiter(2)], Choice(2)),
        ([waiter(1, asleep=True)], None),
        ([], None),
    ],
)
def test_plain_order_serves_the_first_that_is_ready(waiters, expected):
    assert next_up(waiters, OrderRules(), last_model="7b") == expected


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        ({}, Choice(2, (1,))),
        ({"overtaken": 2}, Choice(1)),
        ({"age_seconds": 101}, Choice(1)),
        ({"asleep": True}, Choice(2)),  # one that sleeps is passed over, not overtaken
        ({"dead": True}, Choice(2)),
    ],
)
def test_affinity_passes_only_who_may_be_passed(ahead, expected):
    waiters = [waiter(1, model="tiny", **ahead), waiter(2), waiter(3)]
    assert next_up(waiters, AFFINITY, last_model="7b") == expected


def test_affinity_never_jumps_over_one_it_may_not_pass_to_reach_a_later_one():
    waiters = [waiter(1, model="tiny", overtaken=2), waiter(2, model="tiny"), waiter(3)]
    assert next_up(waiters, AFFINITY, last_model="7b") == Choice(1)


@pytest.mark.parametrize(
    ("due_in_seconds", "expected"),
    [
        (25.0, Choice(3, (1, 2))),  # in plain order it ends after 30 s, now it makes it
        (35.0, Choice(1)),  # it makes it anyway
        (5.0, Choice(1)),  # it misses it in any case
        (None, Choice(1)),
    ],
)
def test_deadline_passes_only_for_one_that_would_miss_it_and_can_make_it(due_in_seconds, expected):
    waiters = [waiter(1), waiter(2), waiter(3, due_in_seconds=due_in_seconds)]
    assert next_up(waiters, DEADLINE) == expected


def test_deadline_serves_the_earliest_due_first():
    waiters = [waiter(1), waiter(2), waiter(3, due_in_seconds=26.0), waiter(4, due_in_seconds=22.0)]
    assert next_up(waiters, DEADLINE) == Choice(4, (1, 2, 3))
