"""Laws of the pure policies, for any input."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from governor.policy.facts import Footprint, Held
from governor.policy.ordering import Waiter, living, place
from governor.policy.residency import Fitting, Space, admit, make_room
from governor.policy.tokens import estimated_tokens
from governor.policy.watermarks import Hours, Marks, overstayed, past_mark

held_models = st.lists(
    st.builds(
        Held,
        resident_id=st.integers(1, 10_000),
        engine=st.just("embedded"),
        model=st.text("abc", min_size=1, max_size=2),
        context_tokens=st.sampled_from([2048, 4096]),
        line=st.sampled_from(["gpu", "cpu"]),
        memory_mib=st.floats(0, 8000),
        idle_seconds=st.floats(0, 1e6),
        age_seconds=st.floats(0, 1e6),
        busy=st.booleans(),
        pinned=st.booleans(),
        stuck=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda h: h.resident_id,
)
free = st.one_of(st.none(), st.floats(0, 10_000))


spaces = st.builds(Space, free_mib=free, budget_mib=st.floats(0, 10_000), floor_mib=st.sampled_from([0.0, 400.0]))
ways = st.lists(st.floats(1, 10_000), min_size=1, max_size=6).map(
    lambda needs: [
        Fitting(
            context_tokens=256 * (len(needs) - i),
            cache_type="f16",
            footprint=Footprint(mib=mib, spread_mib=0, source="header"),
        )
        for i, mib in enumerate(sorted(needs, reverse=True))
    ]
)


@given(held_models, st.floats(0, 10_000), spaces)
def test_room_fits_or_says_no_and_spares_the_busy_the_pinned_and_the_stuck(held, need_mib, space):
    room = make_room(held, need_mib=need_mib, space=space)
    leaving = {h.resident_id: h for h in held if h.resident_id in room.evict}
    assert len(leaving) == len(room.evict)
    assert not any(h.busy or h.pinned or h.stuck for h in leaving.values())
    assert not (room.fits and room.waits)
    if room.fits:
        stays = sum(h.memory_mib for h in held if h.resident_id not in leaving)
        assert stays + need_mib <= space.budget_mib + 1e-3
        if space.free_mib is not None:
            back = sum(h.memory_mib for h in leaving.values())
            assert need_mib + space.floor_mib <= space.free_mib + back + 1e-3
    else:
        assert room.evict == ()


@given(held_models, st.floats(0, 10_000), spaces, st.floats(0, 5_000), st.floats(0, 5_000))
def test_more_room_never_refuses_what_less_admitted(held, need_mib, space, extra_mib, extra_free_mib):
    larger = space.model_copy(
        update={
            "budget_mib": space.budget_mib + extra_mib,
            "free_mib": None if space.free_mib is None else space.free_mib + extra_free_mib,
        }
    )
    less, more = (make_room(held, need_mib=need_mib, space=s) for s in (space, larger))
    assert more.fits or not less.fits
    assert more.fits or more.waits or not less.waits
    if less.fits:
        assert len(more.evict) <= len(less.evict)


@given(held_models, ways, spaces, st.floats(0, 5_000))
def test_an_admission_is_one_of_its_ways_or_says_why_not_and_is_monotone_in_free_memory(held, fittings, space, extra):
    decided = admit(held, fittings, space, newcomer="new")
    assert decided.fitting is None or decided.fitting in fittings
    assert decided.fitting is not None or decided.refusals
    assert decided.evict == () or decided.fitting is not None
    if space.free_mib is None or decided.fitting is None:
        return
    more = admit(held, fittings, space.model_copy(update={"free_mib": space.free_mib + extra}), newcomer="new")
    assert more.waits or more.fitting is not None
    if more.fitting is not None:
        assert more.fitting.need_mib >= decided.fitting.need_mib


@given(held_models, st.floats(0, 1e6), st.floats(0, 200), st.booleans())
def test_no_watermark_and_no_keep_alive_names_the_busy_or_the_pinned(held, keep_alive_seconds, percent, evicting):
    named = {leaving.resident_id for leaving in overstayed(held, keep_alive_seconds=keep_alive_seconds)}
    marks = Marks(high_percent=90, low_percent=80)
    one = past_mark(held, percent, marks=marks, evicting=evicting)
    named |= {one.resident_id} if one else set()
    assert not any(h.resident_id in named for h in held if h.busy or h.pinned or h.stuck)
    assert past_mark(held, None, marks=marks) is None


@given(
    st.datetimes(min_value=datetime(2025, 1, 1), max_value=datetime(2027, 12, 31), timezones=st.just(UTC)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_day_and_night_agree_with_the_clock_on_the_wall_on_every_day(now, zone):
    hours = Hours(zone=zone)
    wall = now.astimezone(ZoneInfo(zone))
    assert hours.is_night(now) == (wall.hour >= 23 or wall.hour < 7)


@given(st.text(max_size=400), st.text(max_size=400))
def test_more_text_never_takes_fewer_tokens(text, more):
    assert estimated_tokens(text + "\n" + more) >= max(estimated_tokens(text), estimated_tokens(more))


@given(st.lists(st.builds(Waiter, ticket_id=st.integers(1, 1000), dead=st.booleans()), unique_by=lambda w: w.ticket_id))
def test_places_are_a_gapless_count_of_the_living(waiters):
    places = [place(waiters, w.ticket_id) for w in living(waiters)]
    assert places == list(range(1, len(places) + 1))
    assert all(place(waiters, w.ticket_id) == 0 for w in waiters if w.dead)
