"""First come, first served, among the living (invariant 2)."""

import pytest

from governor.policy.ordering import Waiter, living, place


@pytest.mark.parametrize(
    ("waiters", "ticket_id", "expected"),
    [
        ([Waiter(ticket_id=1)], 1, 1),
        ([Waiter(ticket_id=7), Waiter(ticket_id=3)], 7, 2),
        ([Waiter(ticket_id=3, dead=True), Waiter(ticket_id=7)], 7, 1),
        ([Waiter(ticket_id=3, dead=True)], 3, 0),
        ([], 3, 0),
    ],
)
def test_place_counts_the_living_ahead(waiters, ticket_id, expected):
    assert place(waiters, ticket_id) == expected


def test_the_living_stand_by_ticket_id():
    assert [w.ticket_id for w in living([Waiter(ticket_id=9), Waiter(ticket_id=2)])] == [2, 9]
