"""The ticket line on a real database: first come, first served, among the living (invariants 1-11)."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from governor import succession
from governor.leasing import decline
from governor.line import Errand, Grant, Line, Place
from governor.policy.ordering import Order, OrderRules
from governor.policy.turns import OFFER_SECONDS, Act
from governor.processes import Identity, Life, identify
from governor.rows import KEEP_TICKETS, PRUNE_EVERY, order_key, read_slots
from governor.settings import Home
from governor.state.models import Slot, Ticket
from governor.state.sessions import reading, remember, store, transaction
from governor.succession import to_release

NOW = datetime(2026, 11, 1, 7, 0, tzinfo=UTC)
DEAD = replace(identify(), start_ticks=1)
FOREIGN = Identity(identify().boot_id, "pid:[1]", 1, 1)


class Clock:
    """A line and a clock that the test moves."""

    def __init__(self, slots: int = 1) -> None:
        self.s = 100.0
        self.line = Line("gpu", store(), self.judge, identify)
        self.line.ensure_slots(slots)

    @property
    def times(self):
        return {"now": NOW + timedelta(seconds=self.s), "clock_s": self.s}

    @staticmethod
    def judge(process: Identity) -> Life:
        return {DEAD: Life.DEAD, FOREIGN: Life.UNKNOWN}.get(process, Life.ALIVE)

    def take(self, agent: str = "digest/news", model: str = "7b", **more) -> Place:
        return self.line.take(Errand("gpu", agent, model, 60.0, **more), **self.times)

    def see(self, place: Place):
        return self.line.look(place.id, **self.times)

    def sit(self, place: Place, index: int = 0) -> Grant:
        assert self.line.begin_asking(place.id, index, **self.times)
        grant = self.line.grant(place.id, index, lease_id=f"lease-{place.id}", budget_seconds=60, **self.times)
        assert grant is not None
        return grant

    def rise(self, place: Place, grant: Grant) -> succession.Passed | None:
        return succession.hand_over(self.line, place.id, grant, **self.times)

    def accept(self, place: Place, index: int = 0) -> Grant | None:
        return succession.accept(self.line, place.id, index, budget_seconds=60, **self.times)

    def release(self, passed: succession.Passed | None) -> list[int]:
        assert passed is not None and passed.release is not None
        return self.line.finish_release(passed.release.index, passed.release.fence, **self.times)


@pytest.fixture
def desk(hotdesk_home: Home) -> Clock:
    return Clock()


def own(table: type[Ticket] | type[Slot], key: object, owner: Identity) -> None:
    with transaction() as session:
        session.get_one(table, key).identity = owner


def kill(place: Place) -> None:
    """The process of this ticket, wherever it stands, is dead."""
    own(Ticket, place.id, DEAD)
    with transaction() as session:
        for slot in session.query(Slot).filter_by(ticket_id=place.id):
            slot.identity = DEAD


def ticket(place: Place) -> Ticket:
    with reading() as session:
        return session.get_one(Ticket, place.id)


def slot(index: int = 0) -> Slot:
    with reading() as session:
        return session.get_one(Slot, ("gpu", index))


def test_places_follow_the_order_of_tickets(desk: Clock):
    assert [desk.see(p).place for p in [desk.take() for _ in range(3)]] == [1, 2, 3]


def test_only_the_head_may_claim_a_free_slot(desk: Clock):
    first, second = desk.take(), desk.take()
    assert not desk.line.begin_asking(second.id, 0, **desk.times)
    assert desk.line.begin_asking(first.id, 0, **desk.times)
    assert not desk.line.begin_asking(first.id, 0, **desk.times)


def test_a_refusal_keeps_the_place_in_line(desk: Clock):
    first, second = desk.take(), desk.take()
    desk.line.begin_asking(first.id, 0, **desk.times)
    desk.line.withdraw(first.id, 0, clock_s=desk.s)
    assert (desk.see(first).place, desk.see(second).place) == (1, 2)


def test_a_lease_that_came_too_late_is_in_the_row_before_it_is_released(desk: Clock):
    first, second = desk.take(), desk.take()
    asked_at = desk.times["now"]
    desk.line.begin_asking(first.id, 0, **desk.times)
    passed = decline(desk.line, first.id, 0, lease_id="late", asked_at=asked_at, clock_s=desk.s)
    assert passed.release == succession.Release(0, 0, "late", None, False, asked_at)
    assert (slot().state, slot().lease_id, slot().ticket_id) == ("releasing", "late", None)
    assert (desk.see(first).place, desk.see(second).place) == (1, 2)
    assert decline(desk.line, first.id, 0, lease_id="late", asked_at=asked_at, clock_s=desk.s) == succession.Passed()
    assert desk.release(passed) == [first.id, second.id]


def test_fences_grow_by_one_at_every_grant(desk: Clock):
    fences = []
    for _ in range(3):
        place = desk.take()
        grant = desk.sit(place)
        fences.append(grant.fence)
        desk.release(desk.rise(place, grant))
    assert fences == [1, 2, 3]


def test_the_lease_goes_to_the_next_ticket_and_is_not_released(desk: Clock):
    holder, heir, _ = desk.take(), desk.take(), desk.take()
    grant = desk.sit(holder)
    passed = desk.rise(holder, grant)
    assert passed == succession.Passed(ring=(heir.id,))
    assert desk.see(heir).step.act is Act.ACCEPT
    seat = desk.accept(heir)
    assert seat == Grant(0, grant.fence + 1, grant.lease_id)
    assert not desk.line.is_current(grant)
    assert (ticket(holder).state, ticket(heir).state) == ("done", "seated")


def test_an_offer_is_accepted_by_nobody_else(desk: Clock):
    holder, _heir, third = desk.take(), desk.take(), desk.take()
    desk.rise(holder, desk.sit(holder))
    assert desk.accept(third) is None


def test_an_offer_that_goes_by_wakes_the_next_one_and_the_sleeper_keeps_its_place(desk: Clock):
    holder, sleeper, third = desk.take(), desk.take(), desk.take()
    desk.rise(holder, desk.sit(holder))
    assert desk.see(third).step.act is Act.WAIT
    desk.s += OFFER_SECONDS + 0.01
    assert desk.see(third).step.act is Act.PASS_ON
    assert succession.pass_on(desk.line, 0, **desk.times).ring[0] == third.id
    grant = desk.accept(third)
    assert grant is not None
    assert desk.accept(sleeper) is None
    assert desk.see(sleeper).step.act is Act.STIR
    succession.stir(desk.line, sleeper.id)
    desk.take()
    assert desk.rise(third, grant) == succession.Passed(ring=(sleeper.id,))


def test_a_sleeper_with_nobody_behind_it_keeps_its_place_when_its_lease_is_given_back(desk: Clock):
    holder, sleeper = desk.take(), desk.take()
    desk.rise(holder, desk.sit(holder))
    desk.s += OFFER_SECONDS + 0.01
    desk.release(succession.pass_on(desk.line, 0, **desk.times))  # as the governor does
    assert desk.see(sleeper).step.act is Act.STIR
    succession.stir(desk.line, sleeper.id)
    assert desk.see(sleeper).step.act is Act.ASK


def test_a_sleeper_is_not_buried_with_the_one_that_died_over_its_lease(desk: Clock):
    holder, sleeper = desk.take(), desk.take()
    desk.rise(holder, desk.sit(holder))
    desk.s += OFFER_SECONDS + 0.01
    succession.pass_on(desk.line, 0, **desk.times)
    own(Slot, ("gpu", 0), DEAD)
    desk.release(succession.reap(desk.line, 0, **desk.times))
    assert ticket(sleeper).state == "waiting"


def test_an_offer_in_time_is_not_passed_on(desk: Clock):
    holder, heir, _ = desk.take(), desk.take(), desk.take()
    desk.rise(holder, desk.sit(holder))
    assert succession.pass_on(desk.line, 0, **desk.times) == succession.Passed()
    assert desk.accept(heir) is not None


def test_the_last_one_out_releases_and_only_once(desk: Clock):
    holder = desk.take()
    grant = desk.sit(holder)
    passed = desk.rise(holder, grant)
    assert passed is not None and passed.release is not None
    assert passed.release.lease_id == grant.lease_id
    assert desk.rise(holder, grant) is None
    newcomer = desk.take()
    assert desk.see(newcomer).step.act is Act.WAIT
    assert desk.release(passed) == [newcomer.id]
    assert desk.see(newcomer).step.act is Act.ASK


def test_an_old_fence_hands_nothing_over(desk: Clock):
    holder = desk.take()
    grant = desk.sit(holder)
    assert desk.rise(holder, replace(grant, fence=grant.fence - 1)) is None
    assert desk.line.is_current(grant)


def test_a_dead_waiter_never_blocks_the_line(desk: Clock):
    dead, living = desk.take(), desk.take()
    kill(dead)
    assert desk.see(living).place == 1
    assert succession.bury_waiters(desk.line, now=NOW) == [dead.id]
    assert ticket(dead).state == "reaped"


def test_the_lease_of_a_dead_holder_goes_to_the_next_one(desk: Clock):
    holder, heir = desk.take(), desk.take()
    grant = desk.sit(holder)
    kill(holder)
    assert desk.see(heir).step.act is Act.REAP
    assert succession.reap(desk.line, 0, **desk.times).ring == (heir.id,)
    assert desk.accept(heir) == Grant(0, grant.fence + 1, grant.lease_id)
    assert ticket(holder).state == "reaped"


def test_the_slot_of_one_that_died_asking_is_the_reapers_to_release(desk: Clock):
    asker, heir = desk.take(), desk.take()
    desk.line.begin_asking(asker.id, 0, **desk.times)
    kill(asker)
    passed = succession.reap(desk.line, 0, **desk.times)
    assert passed.release is not None
    assert (passed.release.lease_id, passed.release.ticket_uuid) == (None, asker.uuid)
    assert desk.release(passed) == [heir.id]


def test_a_reaper_that_dies_is_reaped_too_and_finishes_nothing_later(desk: Clock):
    holder = desk.take()
    kill_before = desk.sit(holder)
    kill(holder)
    first = succession.reap(desk.line, 0, **desk.times)
    assert succession.reap(desk.line, 0, **desk.times) == succession.Passed()
    own(Slot, ("gpu", 0), DEAD)
    second = succession.reap(desk.line, 0, **desk.times)
    assert first.release is not None and second.release is not None
    assert (first.release.again, second.release.again) == (False, True)
    assert second.release.lease_id == kill_before.lease_id
    assert desk.line.finish_release(0, first.release.fence, **desk.times) == []
    assert slot().state == "releasing"
    desk.release(second)
    assert slot().state == "free"


def test_a_heir_that_died_gets_no_time(desk: Clock):
    holder, heir, third = desk.take(), desk.take(), desk.take()
    desk.rise(holder, desk.sit(holder))
    kill(heir)
    assert desk.see(third).step.act is Act.PASS_ON
    assert succession.pass_on(desk.line, 0, **desk.times).ring[0] == third.id
    assert ticket(heir).state == "reaped"


def test_a_living_holder_is_never_robbed_by_elapsed_time_within_its_budget(desk: Clock):
    holder, heir = desk.take(), desk.take()
    grant = desk.sit(holder)
    desk.s += 59
    assert desk.see(heir).step.act is Act.WAIT
    assert succession.revoke(desk.line, 0, clock_s=desk.s) is None
    assert desk.line.is_current(grant)


def test_past_its_budget_a_holder_loses_its_fence_then_its_life_and_never_the_slot_before_that(desk: Clock):
    holder, heir = desk.take(), desk.take()
    grant = desk.sit(holder)
    desk.s += 61
    assert desk.see(heir).step.act is Act.REVOKE
    assert succession.revoke(desk.line, 0, clock_s=desk.s) == identify()
    assert not desk.line.is_current(grant)
    assert desk.see(heir).step.act is Act.WAIT
    assert succession.overdue(desk.line, 0, clock_s=desk.s) is None
    desk.s += 11
    assert desk.see(heir).step.act is Act.KILL
    assert succession.overdue(desk.line, 0, clock_s=desk.s) == identify()
    kill(holder)
    assert desk.see(heir).step.act is Act.REAP
    succession.reap(desk.line, 0, **desk.times)
    seat = desk.accept(heir)
    assert seat is not None and seat.fence == grant.fence + 2


def test_a_revoked_holder_may_stand_up_by_itself(desk: Clock):
    holder, heir = desk.take(), desk.take()
    grant = desk.sit(holder)
    desk.s += 61
    succession.revoke(desk.line, 0, clock_s=desk.s)
    assert desk.rise(holder, grant) == succession.Passed(ring=(heir.id,))


def test_a_holder_in_a_foreign_namespace_is_never_robbed(desk: Clock):
    holder, heir = desk.take(), desk.take()
    grant = desk.sit(holder)
    own(Slot, ("gpu", 0), FOREIGN)
    assert succession.reap(desk.line, 0, **desk.times) == succession.Passed()
    assert desk.see(heir).step.act is Act.WAIT
    assert desk.line.is_current(grant)


def test_a_ticket_that_left_is_not_in_line(desk: Clock):
    first, second = desk.take(), desk.take()
    succession.leave(desk.line, first.id, "its patience ran out", **desk.times)
    assert desk.see(first).step.act is Act.GONE
    assert desk.see(second).place == 1


def test_one_that_leaves_with_an_offer_in_hand_passes_it_on(desk: Clock):
    holder, heir, third = desk.take(), desk.take(), desk.take()
    desk.rise(holder, desk.sit(holder))
    passed = succession.leave(desk.line, heir.id, "cancelled", **desk.times)
    assert passed is not None and passed.ring[0] == third.id
    assert desk.accept(third) is not None


def test_a_seated_ticket_cannot_leave_the_line(desk: Clock):
    holder = desk.take()
    grant = desk.sit(holder)
    assert succession.leave(desk.line, holder.id, "mistaken", **desk.times) is None
    assert desk.line.is_current(grant)


def test_a_free_slot_left_alone_by_the_head_goes_to_the_one_behind(desk: Clock):
    sleeper = desk.take()
    desk.s += 5
    awake = desk.take()
    assert desk.see(awake).step.act is Act.ROUSE
    assert succession.rouse(desk.line, awake.id, 0, **desk.times) == (sleeper.id,)
    assert desk.see(sleeper).step.act is Act.ASK  # rung once more: perhaps a ring was lost
    assert desk.see(awake).step.act is Act.WAIT
    desk.s += 1.1
    assert succession.rouse(desk.line, awake.id, 0, **desk.times) == (sleeper.id,)
    assert desk.see(awake).step.act is Act.ASK
    assert desk.see(sleeper).step.act is Act.STIR


def test_one_deep_in_line_does_not_put_the_whole_line_to_sleep(desk: Clock):
    line = [desk.take() for _ in range(10)]
    desk.s += 5
    last = line[-1]
    for _ in range(20):
        succession.rouse(desk.line, last.id, 0, **desk.times)
    assert [place.id for place in line if ticket(place).asleep] == []
    assert desk.see(last).step.act is Act.WAIT


def test_who_is_next_among_the_awake_looks_often_and_watches_the_holder(desk: Clock):
    holder = desk.take()
    desk.sit(holder)
    sleepers = [desk.take() for _ in range(5)]
    with transaction() as session:
        for place in sleepers:
            session.get_one(Ticket, place.id).asleep = True
    head = desk.take()
    view = desk.see(head)
    assert (view.place, view.step.seconds <= 0.25, view.quiet) == (6, True, True)
    assert identify() in view.watch
    assert desk.line.first(2) == [head.id]


def test_a_slot_that_the_profile_took_away_is_not_handed_on(hotdesk_home: Home):
    desk = Clock(slots=2)
    first, second, waiting = desk.take(), desk.take(), desk.take()
    desk.sit(first, 0)
    two = desk.sit(second, 1)
    desk.line.ensure_slots(1)
    desk.release(desk.rise(second, two))
    assert slot(1).state == "free"
    assert desk.see(waiting).step.act is Act.WAIT
    assert not desk.line.begin_asking(waiting.id, 1, **desk.times)


def test_a_head_that_just_came_is_given_time_to_claim(desk: Clock):
    desk.take()
    second = desk.take()
    desk.s += 0.5
    assert desk.see(second).step.act is Act.WAIT
    assert succession.rouse(desk.line, second.id, 0, **desk.times) == ()


def test_a_lease_gone_at_hand_over_is_asked_for_anew_by_the_heir(desk: Clock):
    holder, heir = desk.take(), desk.take()
    desk.rise(holder, desk.sit(holder))
    grant = desk.accept(heir)
    assert grant is not None
    assert desk.line.ask_again(heir.id, grant, clock_s=desk.s)
    assert (slot().state, slot().lease_id, ticket(heir).state) == ("asking", None, "asking")
    again = desk.line.grant(heir.id, 0, lease_id="new", budget_seconds=60, **desk.times)
    assert again == Grant(0, grant.fence + 1, "new")


def test_a_renewal_under_an_old_fence_is_refused(desk: Clock):
    holder, _ = desk.take(), desk.take()
    grant = desk.sit(holder)
    assert desk.line.renewed(grant, grant.lease_id, now=NOW)
    desk.rise(holder, grant)
    assert not desk.line.renewed(grant, grant.lease_id, now=NOW)


def test_two_slots_serve_two_tickets_at_once(hotdesk_home: Home):
    desk = Clock(slots=2)
    first, second, third = desk.take(), desk.take(), desk.take()
    one, two = desk.sit(first, 0), desk.sit(second, 1)
    assert desk.line.is_current(one) and desk.line.is_current(two)
    assert desk.rise(second, two) == succession.Passed(ring=(third.id,))


def test_a_ticket_gets_one_offer_at_a_time(hotdesk_home: Home):
    desk = Clock(slots=2)
    first, second, heir = desk.take(), desk.take(), desk.take()
    one, two = desk.sit(first, 0), desk.sit(second, 1)
    desk.rise(first, one)
    passed = desk.rise(second, two)
    assert passed is not None and passed.release is not None
    assert desk.accept(heir, 0) is not None


def test_a_smaller_line_keeps_the_busy_slot_and_retires_the_free_one(desk: Clock):
    desk.line.ensure_slots(2)
    place = desk.take()
    grant = desk.sit(place, 1)
    desk.line.ensure_slots(1)
    assert slot(1).state == "held"
    desk.release(desk.rise(place, grant))
    desk.line.ensure_slots(1)
    assert slot(1).state == "retired"
    desk.line.ensure_slots(2)
    again = desk.take()
    assert desk.sit(again, 1).fence == grant.fence + 1


def choose(desk: Clock, rules: OrderRules) -> None:
    remember(order_key("gpu"), rules.model_dump_json())


def test_affinity_lets_the_same_model_pass_and_counts_it(desk: Clock):
    choose(desk, OrderRules(order=Order.AFFINITY, overtakes_at_most=1))
    holder = desk.take(model="7b")
    other, same, same_again = desk.take(model="tiny"), desk.take(model="7b"), desk.take(model="7b")
    passed = desk.rise(holder, desk.sit(holder))
    assert passed is not None and passed.ring[0] == same.id
    assert ticket(other).overtaken == 1
    grant = desk.accept(same)
    assert grant is not None
    passed = desk.rise(same, grant)
    assert passed is not None and passed.ring[0] == other.id
    assert ticket(same_again).state == "waiting"


def test_an_overtaking_that_came_to_nothing_is_counted_back(desk: Clock):
    choose(desk, OrderRules(order=Order.AFFINITY, overtakes_at_most=1))
    holder, other, same = desk.take(model="7b"), desk.take(model="tiny"), desk.take(model="7b")
    desk.rise(holder, desk.sit(holder))
    assert ticket(other).overtaken == 1
    succession.leave(desk.line, same.id, "cancelled", **desk.times)
    assert ticket(other).overtaken == 0
    assert desk.accept(other) is not None


def test_an_order_that_cannot_be_read_counts_as_first_come_first_served(desk: Clock):
    remember(order_key("gpu"), '{"order": "vip"}')
    first, second = desk.take(), desk.take()
    assert (desk.see(first).step.act, desk.see(second).step.act) == (Act.ASK, Act.WAIT)


def orphans(desk: Clock, *leases: tuple[str, str], later_seconds: float = 0.0) -> list[str]:
    now = NOW + timedelta(seconds=desk.s + later_seconds)
    return [orphan.lease_id for orphan in succession.claim_orphans(desk.line.store, leases, now=now)]


def test_a_lease_that_a_dead_ticket_left_is_reclaimed_at_once_and_by_one_only(desk: Clock):
    place = desk.take()
    assert orphans(desk, ("left", place.uuid)) == []
    kill(place)
    succession.bury_waiters(desk.line, now=NOW)
    assert orphans(desk, ("left", place.uuid), ("other", "a-stranger")) == ["left"]
    assert orphans(desk, ("left", place.uuid)) == []


def test_a_ticket_that_ended_in_life_has_time_for_its_own_release(desk: Clock):
    place = desk.take()
    succession.leave(desk.line, place.id, "cancelled", **desk.times)
    assert orphans(desk, ("left", place.uuid)) == []
    assert orphans(desk, ("left", place.uuid), later_seconds=46) == ["left"]


def test_the_lease_of_a_slot_that_is_being_released_is_its_releasers(desk: Clock):
    asker = desk.take()
    desk.line.begin_asking(asker.id, 0, **desk.times)
    kill(asker)
    passed = succession.reap(desk.line, 0, **desk.times)
    assert orphans(desk, ("left", asker.uuid), later_seconds=60) == []
    desk.release(passed)
    assert orphans(desk, ("left", asker.uuid), later_seconds=60) == ["left"]


def test_one_that_died_asking_has_overtaken_nobody(desk: Clock):
    choose(desk, OrderRules(order=Order.AFFINITY, overtakes_at_most=1))
    holder = desk.take(model="7b")
    desk.release(desk.rise(holder, desk.sit(holder)))
    other, same = desk.take(model="tiny"), desk.take(model="7b")
    assert desk.line.begin_asking(same.id, 0, **desk.times)
    assert ticket(other).overtaken == 1
    kill(same)
    succession.reap(desk.line, 0, **desk.times)
    assert ticket(other).overtaken == 0


def test_a_lease_that_was_handed_on_is_nobodys_to_reclaim(desk: Clock):
    holder, heir = desk.take(), desk.take()
    grant = desk.sit(holder)
    desk.rise(holder, grant)
    desk.accept(heir)
    assert orphans(desk, (grant.lease_id, holder.uuid), later_seconds=60) == []


def test_tickets_that_ended_long_ago_are_forgotten_and_open_ones_are_not(desk: Clock):
    waiting = desk.take()
    over = desk.take()
    succession.leave(desk.line, over.id, "cancelled", **desk.times)
    with transaction() as session:  # the next number is the one at which the old ones go
        newest = (over.id + KEEP_TICKETS) // PRUNE_EVERY * PRUNE_EVERY + PRUNE_EVERY
        session.connection().exec_driver_sql(f"UPDATE sqlite_sequence SET seq = {newest - 1} WHERE name = 'tickets'")
    desk.take()
    with reading() as session:
        assert session.get(Ticket, over.id) is None
        assert session.get(Ticket, waiting.id) is not None


def test_what_was_written_before_this_boot_is_old(desk: Clock):
    first = desk.take()
    desk.s = 1.0
    second = desk.take()
    desk.s = 3.0
    assert desk.see(second).step.act is Act.ROUSE
    assert first.id < second.id


def test_who_read_its_clock_before_others_were_done_robs_nobody(desk: Clock):
    """A holder overstayed; before the lock is had, it is gone and its heir sits."""
    holder, heir = desk.take(), desk.take()
    grant = desk.sit(holder)
    desk.s += 61
    late_s = desk.s
    desk.s += 0.002
    desk.rise(holder, grant)
    seat = desk.accept(heir)
    assert seat is not None
    assert succession.revoke(desk.line, 0, clock_s=late_s) is None
    assert desk.line.is_current(seat)


def test_of_two_who_see_a_dead_releaser_one_releases_whoever_read_its_clock_first(desk: Clock):
    holder, _ = desk.take(), desk.take()
    desk.sit(holder)
    kill(holder)
    desk.s += 1
    late = desk.times
    desk.s += 0.002
    with desk.line.store.change("pause") as db:
        to_release(db, desk.line, read_slots(db, "gpu")[0], None, desk.s)
    assert succession.reap(desk.line, 0, **late) == succession.Passed()


def test_tickets_of_many_processes_never_share_an_id(hotdesk_home: Home):
    code = (
        "from datetime import datetime, UTC\nfrom governor.line import Errand, Line\n"
        "from governor.processes import identify, life\nfrom governor.state.sessions import store\n"
        "line = Line('gpu', store(), life, identify)\n"
        "for _ in range(10):\n"
        "    print(line.take(Errand('gpu', 'a', 'm', 1.0), now=datetime.now(UTC), clock_s=0).id)"
    )
    children = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    ids = [int(number) for child in children for number in child.communicate(timeout=60)[0].split()]
    assert len(ids) == len(set(ids)) == 30
