"""The ticket line on a real database: first come, first served, among the living."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from governor import line
from governor.processes import Identity, identify
from governor.settings import Home
from governor.state.models import Slot, Ticket
from governor.state.sessions import reading, transaction

NOW = datetime(2026, 11, 1, 7, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def one_slot(hotdesk_home: Home):
    line.ensure_slots("gpu", 1)


def take(agent: str = "digest/news") -> Ticket:
    return line.take(line.Errand("gpu", agent, "model", 60.0), now=NOW)


def sit(ticket: Ticket) -> int:
    assert line.begin_asking(ticket.id, "gpu", 0)
    return line.grant(ticket.id, "gpu", 0, lease_id="lease", budget_seconds=60, now=NOW)


def kill_owner(table: type[Ticket] | type[Slot], key: object) -> None:
    with transaction() as session:
        row = session.get_one(table, key)
        row.identity = replace(row.identity or identify(), start_ticks=1)


def test_places_follow_the_order_of_tickets():
    tickets = [take() for _ in range(3)]
    assert [line.look(t.id, "gpu").place for t in tickets] == [1, 2, 3]


def test_only_one_of_two_claims_gets_a_slot():
    first, second = take(), take()
    assert line.begin_asking(first.id, "gpu", 0)
    assert not line.begin_asking(second.id, "gpu", 0)


def test_a_refusal_keeps_the_place_in_line():
    first, second = take(), take()
    line.begin_asking(first.id, "gpu", 0)
    line.withdraw(first.id, "gpu", 0)
    assert line.look(first.id, "gpu").place == 1
    assert line.look(second.id, "gpu").place == 2


def test_fences_grow_by_one_at_every_grant():
    fences = []
    for _ in range(3):
        fence = sit(take())
        fences.append(fence)
        assert line.begin_release("gpu", 0, fence) == "lease"
        line.finish_release("gpu", 0, fence, now=NOW)
    assert fences == [1, 2, 3]


def test_a_lease_is_released_by_one_caller_only():
    fence = sit(take())
    assert line.begin_release("gpu", 0, fence) == "lease"
    assert line.begin_release("gpu", 0, fence) is None


def test_an_old_fence_releases_nothing():
    fence = sit(take())
    assert line.begin_release("gpu", 0, fence - 1) is None
    assert line.is_current("gpu", 0, fence)
    assert not line.is_current("gpu", 0, fence - 1)


def test_a_dead_waiter_never_blocks_the_line():
    dead, living = take(), take()
    kill_owner(Ticket, dead.id)
    assert line.look(living.id, "gpu").place == 1
    line.reap("gpu", now=NOW)
    with reading() as session:
        assert session.get_one(Ticket, dead.id).state == "reaped"


def test_a_dead_holder_is_reaped_and_its_lease_handed_to_the_reaper():
    holder, heir = take(), take()
    fence = sit(holder)
    kill_owner(Slot, ("gpu", 0))
    assert line.look(heir.id, "gpu").dead_slots == (0,)
    [freed] = line.reap("gpu", now=NOW)
    assert (freed.lease_id, freed.fence, freed.ticket_id) == ("lease", fence, holder.id)
    assert not line.is_current("gpu", 0, fence)
    line.finish_release("gpu", 0, fence, now=NOW)
    assert line.look(heir.id, "gpu").free_slot == 0


def test_a_reaper_that_dies_is_reaped_too():
    sit(take())
    kill_owner(Slot, ("gpu", 0))
    assert len(line.reap("gpu", now=NOW)) == 1
    assert line.reap("gpu", now=NOW) == []
    kill_owner(Slot, ("gpu", 0))
    assert len(line.reap("gpu", now=NOW)) == 1


def test_a_holder_in_a_foreign_namespace_is_never_robbed():
    fence = sit(take())
    with transaction() as session:
        slot = session.get_one(Slot, ("gpu", 0))
        owner = slot.identity
        assert owner is not None
        slot.identity = Identity(owner.boot_id, "pid:[1]", 1, 1)
    assert line.reap("gpu", now=NOW) == []
    assert line.is_current("gpu", 0, fence)


def test_a_ticket_that_left_is_not_in_line():
    first, second = take(), take()
    line.leave(first.id, "its patience ran out", now=NOW)
    assert line.look(first.id, "gpu").place == 0
    assert line.look(second.id, "gpu").place == 1


def test_a_smaller_line_keeps_the_busy_slot_and_retires_the_free_one():
    line.ensure_slots("gpu", 2)
    ticket = take()
    assert line.begin_asking(ticket.id, "gpu", 1)
    line.ensure_slots("gpu", 1)
    assert slot_state(1) == "asking"
    line.withdraw(ticket.id, "gpu", 1)
    line.ensure_slots("gpu", 1)
    assert slot_state(1) == "retired"
    assert line.look(ticket.id, "gpu").free_slot == 0


def slot_state(index: int) -> str:
    with reading() as session:
        return session.get_one(Slot, ("gpu", index)).state


def test_tickets_of_many_processes_never_share_an_id(hotdesk_home: Home):
    code = (
        "from datetime import datetime, UTC\nfrom governor import line\n"
        "for _ in range(10): print(line.take(line.Errand('gpu','a','m',1.0), now=datetime.now(UTC)).id)"
    )
    children = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    ids = [int(number) for child in children for number in child.communicate(timeout=60)[0].split()]
    assert len(ids) == len(set(ids)) == 30


def test_an_interrupted_grant_gives_the_slot_back_and_keeps_the_place():
    ticket, heir = take(), take()
    sit(ticket)
    line.withdraw(ticket.id, "gpu", 0)
    assert line.look(ticket.id, "gpu").free_slot == 0
    assert line.look(ticket.id, "gpu").place == 1
    assert line.look(heir.id, "gpu").place == 2


def test_fences_never_fall_when_a_line_shrinks_and_grows_again():
    line.ensure_slots("gpu", 2)
    ticket = take()
    assert line.begin_asking(ticket.id, "gpu", 1)
    fence = line.grant(ticket.id, "gpu", 1, lease_id="lease", budget_seconds=60, now=NOW)
    assert line.begin_release("gpu", 1, fence) == "lease"
    line.finish_release("gpu", 1, fence, now=NOW)
    line.ensure_slots("gpu", 1)
    line.ensure_slots("gpu", 2)
    again = take()
    assert line.begin_asking(again.id, "gpu", 1)
    assert line.grant(again.id, "gpu", 1, lease_id="lease", budget_seconds=60, now=NOW) == fence + 1
