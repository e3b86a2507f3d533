"""Laws of pressure and of the ladder, for any readings (invariants 24 and 25)."""

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from governor.policy.escalation import plan
from governor.policy.facts import Held, Level, Reading, Rung
from governor.policy.ladder import LADDER, Cooldown, Move, Scene, Standing
from governor.policy.pressure import Also, Assessment, Band, Mark, Resource, assess, next_look_seconds
from governor.policy.rules import DEFAULT_MARKS
from tests.property.test_policy_laws import held_models

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
MARK = Mark(reading="used", high=90, low=75, memory="ram")
COOLDOWN = Cooldown()
SEVERITY = [Level.CALM, Level.EASING, Level.HIGH]
MEMORIES = ("ram", "vram")

marks = st.builds(
    Mark,
    reading=st.just("used"),
    high=st.just(90.0),
    low=st.sampled_from([50.0, 75.0]),
    memory=st.sampled_from(MEMORIES),
    persistence=st.integers(1, 4),
    night=st.sampled_from([None, Band(high=70, low=40)]),
    also=st.sampled_from([None, Also(reading="level", high=20, low=10)]),
    most=st.sampled_from(LADDER),
    brim=st.sampled_from([None, 100.0]),
    firm=st.sampled_from([None, 100.0]),
    of_model=st.booleans(),
    shows_after_seconds=st.sampled_from([0.0, 20.0]),
)
values = st.one_of(st.none(), st.floats(0, 120), st.sampled_from([float("nan"), float("inf")]))
looks = st.lists(st.tuples(values, values, st.floats(0.05, 400)), min_size=1, max_size=30)
standings = st.builds(
    Standing,
    rung=st.sampled_from(LADDER),
    moved_at=st.one_of(st.none(), st.floats(0, 60).map(lambda s: NOW - timedelta(seconds=s))),
    reached=st.sampled_from([{"ram": Rung.FORCE_EVICT}, dict.fromkeys(MEMORIES, Rung.FORCE_EVICT)]),
    causes=st.just({"used": ""}),
    acted=st.sampled_from([{}, {"ram": NOW}, dict.fromkeys(MEMORIES, NOW)]),
).map(lambda s: s if s.rung is not Rung.NORMAL else Standing(moved_at=s.moved_at))


def read(used: float | None, level: float | None = None) -> list[Reading]:
    why = "hidden"
    return [Reading(name="used", value=used, unit="%", why=why), Reading(name="level", value=level, unit="%", why=why)]


def resources(level: Level, persistence: int = 2) -> Resource:
    return Resource(level=level, streak=0 if level in (Level.CALM, Level.UNKNOWN) else persistence)


@given(marks, st.floats(0, 120), st.floats(0, 60), st.floats(0, 120), st.sampled_from(SEVERITY), st.booleans())
def test_more_use_is_never_less_pressure(mark, used, more, level, was, night):
    before = Assessment(resources={"used": resources(was, mark.persistence)})
    less_seen, more_seen = (assess(read(u, level), [mark], before, night=night) for u in (used, used + more))
    assert SEVERITY.index(more_seen.levels["used"]) >= SEVERITY.index(less_seen.levels["used"])
    assert more_seen.resources["used"].streak >= less_seen.resources["used"].streak


@given(st.lists(st.floats(75.001, 89.999), min_size=1, max_size=20), st.sampled_from([Level.HIGH, Level.CALM]))
def test_nothing_flaps_inside_the_band(used, was):
    seen = Assessment(resources={"used": resources(was)})
    for value in used:
        seen = assess(read(value), [MARK], seen)
        assert seen.levels["used"] is (Level.EASING if was is Level.HIGH else Level.CALM)


@given(st.floats(0, 100), st.integers(2, 30))
def test_a_steady_reading_settles(used, times):
    seen, levels = Assessment(), []
    for _ in range(times):
        seen = assess(read(used), [MARK], seen)
        levels.append(seen.levels["used"])
    assert sum(a != b for a, b in itertools.pairwise(levels)) <= 1


@given(marks, looks, held_models, st.booleans())
def test_a_whole_watch_keeps_the_laws_of_the_ladder(mark, given_looks, held, night):
    seen, standing, now = Assessment(), Standing(), NOW
    climbed_at: datetime | None = None
    for used, level, seconds in given_looks:
        now += timedelta(seconds=seconds)
        seen = assess(read(used, level), [mark], seen, at_s=(now - NOW).total_seconds(), night=night)
        ahead = next_look_seconds(seen, least=0.1, most=2.0)
        move = plan(seen, standing, [mark], Scene(held=tuple(held), now=now, ahead_seconds=ahead), COOLDOWN)
        up = LADDER.index(move.rung) - LADDER.index(standing.rung)
        assert up <= 1 or move.urgent
        assert up >= -1
        if up > 0:
            early = climbed_at is not None and (now - climbed_at).total_seconds() < COOLDOWN.up_seconds - 1e-3
            assert move.urgent or not early
            assert LADDER.index(move.rung) <= LADDER.index(mark.most) or move.urgent
            climbed_at = now
        if seen.levels["used"] is Level.UNKNOWN:
            assert move.standing == standing and move.evict is None and move.terminate is None
        _spares_whom_it_must(move, held, mark)
        standing = move.standing


def _spares_whom_it_must(move: Move, held: list[Held], mark: Mark) -> None:
    by_id = {h.resident_id: h for h in held}
    assert move.evict is None or move.terminate is None
    if move.terminate is not None:
        assert move.rung is Rung.FORCE_EVICT  # gentle rungs never touch who sits
        assert by_id[move.terminate].busy and by_id[move.terminate].memory == mark.memory
    if move.evict is not None:
        one = by_id[move.evict]
        assert LADDER.index(move.rung) >= LADDER.index(Rung.EVICT_IDLE)
        assert not one.busy and not one.stuck and one.memory == mark.memory
        assert not one.pinned or move.rung is Rung.FORCE_EVICT


@given(standings, held_models, st.sampled_from([0.0, 74.9, 75.0]))
def test_calm_always_leads_back_to_normal(standing, held, used):
    seen, now = Assessment(resources={"used": resources(Level.HIGH)}), NOW
    for _ in range(len(LADDER) - 1):
        now += timedelta(seconds=COOLDOWN.down_seconds)
        seen = assess(read(used), [MARK], seen)
        standing = plan(seen, standing, [MARK], Scene(held=tuple(held), now=now), COOLDOWN).standing
    assert standing.rung is Rung.NORMAL
    assert standing.reached == {}


@given(st.lists(st.sampled_from([m.reading for m in DEFAULT_MARKS]), unique=True), standings, held_models)
def test_a_machine_that_can_be_read_in_nothing_is_left_as_it_is(was_high, standing, held):
    seen = Assessment(resources={name: resources(Level.HIGH, 3) for name in was_high})
    seen = assess([Reading(name=m.reading, value=None, unit="", why="x") for m in DEFAULT_MARKS], DEFAULT_MARKS, seen)
    move = plan(seen, standing, DEFAULT_MARKS, Scene(held=tuple(held), now=NOW), COOLDOWN)
    assert (move.standing, move.evict, move.terminate) == (standing, None, None)
