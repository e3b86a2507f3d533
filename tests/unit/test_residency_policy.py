"""Who leaves first, and when nobody has to (invariant 16)."""

from governor.policy.facts import Held
from governor.policy.residency import idle_to_evict, make_room


def model(resident_id: int, mib: float = 300, idle: float = 100, *, busy: bool = False, pinned: bool = False) -> Held:
    return Held(
        resident_id=resident_id,
        engine="embedded",
        model=f"m{resident_id}",
        context_tokens=2048,
        line="gpu",
        memory_mib=mib,
        idle_seconds=idle,
        age_seconds=1000,
        busy=busy,
        pinned=pinned,
    )


def test_nobody_leaves_when_there_is_room():
    room = make_room([model(1)], need_mib=300, budget_mib=1000)
    assert room.fits
    assert room.evict == ()


def test_the_longest_idle_leaves_first_and_no_more_than_needed():
    held = [model(1, idle=10), model(2, idle=500), model(3, idle=50)]
    assert make_room(held, need_mib=300, budget_mib=1000).evict == (2,)


def test_the_busy_and_the_pinned_stay_and_the_newcomer_does_not_fit():
    room = make_room([model(1, 600, busy=True), model(2, 300, pinned=True)], need_mib=300, budget_mib=1000)
    assert not room.fits
    assert room.evict == ()
    assert "900 of 1000" in room.reason


def test_what_is_larger_than_the_budget_never_fits():
    assert not make_room([], need_mib=2000, budget_mib=1000).fits


def test_what_is_measured_free_must_hold_the_newcomer_too():
    held = [model(1, 300, idle=10), model(2, 300, idle=500)]
    assert make_room(held, need_mib=300, budget_mib=9000, free_mib=50).evict == (2,)
    assert make_room(held, need_mib=300, budget_mib=9000, free_mib=300).evict == ()
    assert make_room(held, need_mib=300, budget_mib=9000).evict == (), "unknown is not zero"
    tight = make_room(held, need_mib=800, budget_mib=9000, free_mib=50)
    assert not tight.fits
    assert "at most 650 can be free" in tight.reason


def test_a_model_that_just_came_in_is_not_taken_for_idle():
    new = model(1, idle=61).model_copy(update={"age_seconds": 5.0})
    assert idle_to_evict([new], keep_alive_seconds=60) == []


def test_only_those_idle_past_the_keep_alive_are_evicted():
    held = [model(1, idle=10), model(2, idle=61), model(3, idle=400, busy=True)]
    assert [resident_id for resident_id, _ in idle_to_evict(held, keep_alive_seconds=60)] == [2]
