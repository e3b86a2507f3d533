"""SIGSTOP: who sleeps keeps its place, and a holder that sleeps keeps its seat for its budget and no longer."""

import signal

import pytest

from governor.policy.turns import GRACE_SECONDS, OFFER_SECONDS
from tests.crash.actor import GONE_SECONDS, LEASE_ENDS_SECONDS, SOON_SECONDS, START_SECONDS, until
from tests.crash.conftest import Stages


def test_an_heir_that_sleeps_is_passed_over_and_keeps_its_place(stages: Stages):
    stage = stages("gpu:asleep:0")
    holder = stage.seat("holder")
    sleeper = stage.line_up("sleeper")
    sleeper.stop()
    heir = stage.line_up("heir")
    heir.sits(OFFER_SECONDS + SOON_SECONDS / 2, since=holder.rises())
    last = stage.line_up("last")
    sleeper.resume()
    sleeper.hear_log("stir.done")
    sleeper.sits(since=heir.rises())
    last.sits(since=sleeper.rises())
    stage.comes_to_rest()


def test_a_holder_that_sleeps_within_its_budget_is_not_robbed(stages: Stages):
    stage = stages("gpu:napping:0")
    holder = stage.seat("holder")
    holder.hear_log("renew.done")  # not inside a transaction: that would hold up everybody
    holder.stop()
    waiter = stage.enter("waiter", patience_seconds=1.5)
    assert waiter.ends("raised").startswith("LeftLine")
    holder.resume()
    assert holder.is_seated()
    stage.comes_to_rest()


def test_who_is_stopped_inside_a_transaction_holds_up_the_line_and_breaks_nothing(stages: Stages):
    """Nobody can write meanwhile, not even that it overstays; it is not robbed, and all goes on with it or without."""
    stage = stages("gpu:half-way:0")
    holder = stage.seat("holder", stays_at="hand_over.commit")
    heir = stage.line_up("heir", lock_wait_seconds=0.5)
    holder.rises()
    holder.hear("at", START_SECONDS)
    holder.stop()
    newcomer = stage.start("newcomer", lock_wait_seconds=0.5)
    assert newcomer.ends("raised").startswith("StateUnavailable")
    assert heir.is_silent()
    holder.tell("go on")
    heir.sits(since=holder.resume())
    stage.comes_to_rest()


@pytest.mark.long
def test_a_holder_that_sleeps_past_its_budget_is_ended(stages: Stages):
    """Its fence is bumped at once; it cannot hear SIGTERM, and SIGKILL follows after 10 s."""
    budget_seconds = 2.0
    stage = stages("gpu:overslept:0")
    holder = stage.enter("holder", budget_seconds=budget_seconds)
    fence = holder.sits()
    seated_s = holder.said[-1].at_s
    heir = stage.line_up("heir")
    holder.hear_log("renew.done")
    holder.stop()
    until(lambda: stage.slot.fence == fence + 1, budget_seconds + SOON_SECONDS, "the fence is bumped")
    assert stage.slot.state == "revoked"
    assert holder.process.exit_code(0.0) is None
    assert heir.sits(budget_seconds + GRACE_SECONDS + SOON_SECONDS, since=seated_s) == fence + 2
    holder.is_ended_by(signal.SIGKILL)
    stage.comes_to_rest()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_holder_that_slept_through_its_lease_gets_another_one_for_its_seat(stages: Stages):
    stage = stages("gpu:lease-over:0")
    holder = stage.seat("holder")
    heir = stage.line_up("heir", patience_seconds=250.0)
    holder.hear_log("renew.done")
    holder.stop()
    until(lambda: stage.active_slots == 0, LEASE_ENDS_SECONDS, "the server takes the lease back")
    assert stage.slot.ticket_id == holder.ticket_id  # nobody of the line robs it
    before = stage.slot.lease_id
    holder.resume()
    until(lambda: stage.slot.lease_id != before, GONE_SECONDS, "it has a new lease")
    assert stage.active_slots == 1
    assert holder.is_seated()
    heir.sits(since=holder.rises())
    stage.comes_to_rest()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_holder_whose_slot_was_taken_meanwhile_has_lost_its_seat(stages: Stages):
    stage = stages("gpu:slot-gone:0")
    holder = stage.seat("holder")
    heir = stage.line_up("heir", patience_seconds=250.0)
    holder.hear_log("renew.done")
    holder.stop()
    until(lambda: stage.active_slots == 0, LEASE_ENDS_SECONDS, "the server takes the lease back")
    lease_id = stage.stranger()
    holder.resume()
    holder.hear_log("seat_lost")
    assert not holder.is_seated()
    holder.rises()
    holder.ends()
    assert heir.is_silent()  # a stranger has the slot
    heir.sits(since=stage.give_back(lease_id))
    stage.comes_to_rest()
