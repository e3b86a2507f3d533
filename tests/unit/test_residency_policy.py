"""What may come in, who leaves first, and when nobody has to (invariants 16, 20 and 21)."""

from governor.policy.facts import Footprint, Held
from governor.policy.residency import Fitting, Space, admit, make_room
from governor.policy.watermarks import overstayed


def model(resident_id: int, mib: float = 300, idle: float = 100, **facts: object) -> Held:
    return Held.model_validate(
        {
            "resident_id": resident_id,
            "engine": "embedded",
            "model": f"m{resident_id}",
            "context_tokens": 2048,
            "line": "gpu",
            "memory_mib": mib,
            "idle_seconds": idle,
            "age_seconds": 1000,
            "busy": False,
            **facts,
        }
    )


def budget(mib: float, free_mib: float | None = None) -> Space:
    return Space(free_mib=free_mib, budget_mib=mib, floor_mib=0)


def ways(*needs_mib: float) -> list[Fitting]:
    contexts = (8192, 4096, 2048)
    return [
        Fitting(
            context_tokens=context, cache_type="f16", footprint=Footprint(mib=mib, spread_mib=0.0, source="learned")
        )
        for context, mib in zip(contexts, needs_mib, strict=False)
    ]


def test_nobody_leaves_when_there_is_room():
    room = make_room([model(1)], need_mib=300, space=budget(1000))
    assert room.fits
    assert room.evict == ()


def test_the_longest_idle_leaves_first_and_no_more_than_needed():
    held = [model(1, idle=10), model(2, idle=500), model(3, idle=50)]
    assert make_room(held, need_mib=300, space=budget(1000)).evict == (2,)


def test_the_busy_and_the_pinned_stay_and_the_newcomer_waits_or_is_refused():
    held = [model(1, 600, busy=True), model(2, 300, pinned=True)]
    waits = make_room(held, need_mib=300, space=budget(1000))
    assert (waits.fits, waits.waits, waits.evict) == (False, True, ())
    refused = make_room(held, need_mib=800, space=budget(1000))
    assert (refused.fits, refused.waits) == (False, False)
    assert "m2 (300 MiB, pinned)" in refused.reason


def test_what_gave_nothing_back_is_not_counted_on_again():
    held = [model(1, 600, busy=True, stuck=True), model(2, 300)]
    assert make_room(held, need_mib=300, space=budget(1000)).evict == (2,)
    refused = make_room(held, need_mib=500, space=budget(1000))
    assert not refused.fits
    assert not refused.waits
    assert "gave nothing back" in refused.reason


def test_what_is_larger_than_the_budget_never_fits():
    assert not make_room([], need_mib=2000, space=budget(1000)).fits


def test_what_is_measured_free_must_hold_the_newcomer_and_the_floor_too():
    held = [model(1, 300, idle=10), model(2, 300, idle=500)]
    assert make_room(held, need_mib=300, space=budget(9000, 50)).evict == (2,)
    assert make_room(held, need_mib=300, space=budget(9000, 300)).evict == ()
    assert make_room(held, need_mib=300, space=budget(9000)).evict == (), "unknown is not zero"
    with_floor = Space(free_mib=300, budget_mib=9000, floor_mib=400)
    assert set(make_room(held, need_mib=300, space=with_floor).evict) == {1, 2}
    tight = make_room(held, need_mib=800, space=budget(9000, 50))
    assert not tight.fits
    assert "at most 650 can be free" in tight.reason


def test_the_context_gets_smaller_only_where_nothing_else_helps():
    by_eviction = admit([model(1, 600)], ways(900, 600, 300), budget(1000), newcomer="new")
    assert by_eviction.fitting is not None
    assert (by_eviction.fitting.context_tokens, by_eviction.evict) == (8192, (1,))
    beside_the_busy = admit([model(1, 600, busy=True)], ways(900, 600, 300), budget(1000), newcomer="new")
    assert beside_the_busy.waits
    beside_the_pinned = admit([model(1, 600, pinned=True)], ways(900, 600, 300), budget(1000), newcomer="new")
    assert beside_the_pinned.fitting is not None
    assert beside_the_pinned.fitting.context_tokens == 2048
    assert len(beside_the_pinned.refusals) == 2
    never = admit([model(1, 900, pinned=True)], ways(900, 600, 300), budget(1000), newcomer="new")
    assert (never.fitting, never.waits, len(never.refusals)) == (None, False, 3)


def test_a_model_that_just_came_in_is_not_taken_for_idle():
    assert overstayed([model(1, idle=61, age_seconds=5)], keep_alive_seconds=60) == []
    slow = model(1, idle=61, age_seconds=61, load_seconds=30)
    assert overstayed([slow], keep_alive_seconds=60) == []


def test_only_those_idle_past_the_keep_alive_are_evicted():
    held = [model(1, idle=10), model(2, idle=61), model(3, idle=400, busy=True), model(4, idle=400, pinned=True)]
    assert [leaving.resident_id for leaving in overstayed(held, keep_alive_seconds=60)] == [2]
