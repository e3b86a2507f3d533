"""Marks, hysteresis, what fills up, and the ladder's steps (invariants 24 and 25)."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from governor.policy.escalation import plan
from governor.policy.facts import Held, Level, Reading, Rung
from governor.policy.ladder import Cooldown, Move, Scene, Standing, keep_alive_seconds
from governor.policy.pressure import Also, Assessment, Band, Mark, Resource, assess, next_look_seconds
from governor.policy.victims import next_to_force, next_victim

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
USED = Mark(reading="used", high=90, low=75, memory="vram")
FREE = Mark(reading="free", high=10, low=20, rising_is_bad=False, memory="vram")
SWAP = Mark(reading="rate", high=16, low=2, memory="ram", also=Also(reading="level", high=20, low=10))
CARD = Mark(reading="free", high=200, low=400, rising_is_bad=False, memory="vram", brim=0, filled_by="others")
TRIM, EVICT, PAUSE, FORCE = Rung.TRIM, Rung.EVICT_IDLE, Rung.PAUSE_LINE, Rung.FORCE_EVICT


def read(**values: float | None) -> list[Reading]:
    return [
        Reading(name=name, value=value, unit="", why="" if value is not None else "x") for name, value in values.items()
    ]


def run(mark: Mark, values: list[float | None]) -> list[str]:
    seen, levels = Assessment(), []
    for value in values:
        seen = assess(read(**{mark.reading: value}), [mark], seen)
        levels.append(seen.levels[mark.reading].value)
    return levels


def model(number: int, memory: str = "vram", mib: float = 1000, **how) -> Held:
    given = {"engine": "fake", "model": f"m{number}", "context_tokens": 2048, "line": "gpu", "idle_seconds": 60.0}
    return Held.model_validate(
        {"resident_id": number, "memory": memory, "memory_mib": mib, "age_seconds": 600, "busy": False, **given, **how}
    )


@pytest.mark.parametrize(
    ("mark", "values", "expected"),
    [
        (USED, [95, 95], ["calm", "high"]),
        (USED, [95, 50, 95], ["calm", "calm", "calm"]),
        (USED, [95, 95, 80, 80, 74], ["calm", "high", "easing", "easing", "calm"]),
        (USED, [95, 95, 80, 95], ["calm", "high", "easing", "high"]),
        (USED, [80, 80, 80], ["calm", "calm", "calm"]),
        (USED, [95, None, 95, 95], ["calm", "unknown", "calm", "high"]),
        # what was high before it could not be read is high at once when it can
        (USED, [95, 95, None, 95], ["calm", "high", "unknown", "high"]),
        (USED, [95, 95, None, 80], ["calm", "high", "unknown", "easing"]),
        (USED, [95, 95, None, 70], ["calm", "high", "unknown", "calm"]),
        (USED, [95, 95, math.nan], ["calm", "high", "unknown"]),
        (FREE, [5, 5, 15, 25], ["calm", "high", "easing", "calm"]),
        (FREE, [15, 15, 15], ["calm", "calm", "calm"]),
        (USED.model_copy(update={"persistence": 3}), [95, 95, 95, 95], ["calm", "calm", "high", "high"]),
        (USED.model_copy(update={"persistence": 1}), [95], ["high"]),
    ],
)
def test_levels_over_time(mark: Mark, values: list[float | None], expected: list[str]):
    assert run(mark, values) == expected


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([(50, 50), (50, 50)], ["calm", "high"]),
        # a rate without a level is a program that was started, a level without a rate is old
        ([(50, 5), (50, 5)], ["calm", "calm"]),
        ([(1, 90), (1, 90)], ["calm", "calm"]),
        # the level has a band of its own
        ([(50, 50), (50, 50), (50, 15), (50, 9)], ["calm", "high", "high", "calm"]),
        ([(50, 50), (50, 50), (5, 50), (1, 50)], ["calm", "high", "easing", "calm"]),
        ([(50, 50), (50, 50), (50, None), (50, 50)], ["calm", "high", "unknown", "high"]),
    ],
)
def test_swapping_is_a_level_and_a_rate(looks: list[tuple[float, float | None]], expected: list[str]):
    seen, levels = Assessment(), []
    for rate, level in looks:
        seen = assess(read(rate=rate, level=level), [SWAP], seen)
        levels.append(seen.levels["rate"].value)
    assert levels == expected


def test_the_marks_of_the_night_count_by_night():
    mark = CARD.model_copy(update={"night": Band(high=300, low=500)})
    for night, expected in ((False, "calm"), (True, "high")):
        seen = Assessment()
        for _ in range(2):
            seen = assess(read(free=250, others=0), [mark], seen, night=night)
        assert seen.levels["free"] == expected


def test_a_missing_sensor_is_unknown():
    assert assess([], [USED], Assessment()).worst is Level.UNKNOWN


def test_pressure_that_cannot_be_read_any_more_is_not_calm():
    was = Assessment(resources={"used": Resource(level=Level.HIGH, streak=2), "free": Resource(level=Level.CALM)})
    now = assess(read(free=50), [USED, FREE], was)
    assert now.unresolved == ("used",)
    assert now.worst is Level.UNKNOWN


@pytest.mark.parametrize(
    ("looks", "left", "again"),
    [
        # (seconds, free, what others hold): 500 MiB a second, two looks in a row, 1000 left
        ([(0, 2000, 0), (1, 1500, 500), (2, 1000, 1000)], 2.0, 1.0),
        ([(0, 1100, 0), (0.1, 1050, 50), (0.2, 1000, 100)], 2.0, 1.0),
        # one jump is no rate
        ([(0, 2000, 0), (1, 2000, 0), (2, 1000, 1000)], math.inf, 0.5),
        # what our own models take is not what fills it up
        ([(0, 2000, 0), (1, 1500, 0), (2, 1000, 0)], math.inf, 2.0),
        # nobody can say what the others hold, or the looks are too far apart
        ([(0, 2000, None), (1, 1500, None), (2, 1000, None)], math.inf, 2.0),
        ([(0, 2000, 0), (60, 1500, 500), (120, 1000, 1000)], math.inf, 2.0),
        ([(0, 900, 0), (0.1, 600, 300), (0.2, 300, 600)], 0.1, 0.1),
    ],
)
def test_what_fills_up_says_how_long_it_will_take(looks: list[tuple[float, ...]], left: float, again: float):
    seen = Assessment()
    for at_s, free, others in looks:
        seen = assess(read(free=free, others=others), [CARD], seen, at_s=at_s)
    assert seen.resources["free"].seconds_left == pytest.approx(left)
    assert next_look_seconds(seen, least=0.1, most=2.0) == pytest.approx(again)


def test_what_was_seen_once_is_looked_at_again_soon():
    seen = assess(read(free=100, others=0), [CARD], Assessment(), at_s=0)
    assert next_look_seconds(seen, least=0.1, most=2.0) == 0.1


def high(*marks: Mark, about: str = "") -> Assessment:
    return Assessment(resources={m.reading: Resource(level=Level.HIGH, streak=2, about=about) for m in marks})


def step(seen: Assessment, standing: Standing, *held: Held, mark: Mark = USED, seconds: float = 60.0, **scene) -> Move:
    return plan(seen, standing, [mark], Scene(held=held, now=NOW + timedelta(seconds=seconds), **scene), Cooldown())


def at(rung: Rung, memory: str = "vram") -> Standing:
    return Standing(rung=rung, moved_at=NOW, acted={memory: NOW}, reached={memory: rung}, causes={"used": ""})


IDLE, IN_USE = model(1), model(2, busy=True)


@pytest.mark.parametrize(
    ("rung", "held", "to", "evict", "terminate"),
    [
        (Rung.NORMAL, (IDLE, IN_USE), TRIM, None, None),
        (TRIM, (IDLE, IN_USE), EVICT, 1, None),
        (TRIM, (IN_USE,), EVICT, None, None),
        (EVICT, (IDLE, IN_USE), EVICT, 1, None),
        (EVICT, (IN_USE,), PAUSE, None, None),
        (PAUSE, (IDLE, IN_USE), PAUSE, 1, None),
        (PAUSE, (IN_USE,), FORCE, None, 2),
        (PAUSE, (), PAUSE, None, None),
        (FORCE, (IDLE, IN_USE), FORCE, 1, None),
        (FORCE, (IN_USE,), FORCE, None, 2),
        (FORCE, (), FORCE, None, None),
        # somebody else's memory is not made free by ours
        (TRIM, (model(1, "ram"),), EVICT, None, None),
        (PAUSE, (model(2, "ram", busy=True),), PAUSE, None, None),
        # one that gave nothing back, and one on its way in, are nobody's victim
        (EVICT, (model(1, stuck=True),), PAUSE, None, None),
        (PAUSE, (model(2, busy=True, settled=False),), PAUSE, None, None),
        # a pin spares until the last rung
        (EVICT, (model(1, pinned=True),), PAUSE, None, None),
        (PAUSE, (model(1, pinned=True), IN_USE), FORCE, 1, None),
    ],
)
def test_under_pressure_one_step_and_one_act_at_most(rung, held, to, evict, terminate):
    move = step(high(USED), at(rung), *held)
    assert (move.rung, move.evict, move.terminate) == (to, evict, terminate)
    assert move.changed == (to is not rung)


@pytest.mark.parametrize("rung", [TRIM, EVICT, PAUSE, FORCE])
def test_nothing_more_is_done_until_the_act_before_had_its_time_to_show(rung: Rung):
    move = step(high(USED), at(rung), IDLE, IN_USE, seconds=9)
    assert (move.rung, move.evict, move.terminate, move.changed) == (rung, None, None, False)
    assert "1 s more" in move.reason


@pytest.mark.parametrize(
    ("level", "rung", "seconds", "to"),
    [
        (Level.CALM, FORCE, 30, PAUSE),
        (Level.CALM, PAUSE, 30, EVICT),
        (Level.CALM, EVICT, 30, TRIM),
        (Level.CALM, TRIM, 30, Rung.NORMAL),
        (Level.CALM, TRIM, 29, TRIM),
        (Level.CALM, Rung.NORMAL, 99, Rung.NORMAL),
        (Level.UNKNOWN, FORCE, 9999, FORCE),
        # what eases opens the line, and leaves out what left
        (Level.EASING, FORCE, 30, PAUSE),
        (Level.EASING, PAUSE, 30, EVICT),
        (Level.EASING, EVICT, 9999, EVICT),
        (Level.EASING, TRIM, 9999, TRIM),
        # a clock that was set back an hour keeps nobody waiting for an hour
        (Level.CALM, TRIM, -3600, Rung.NORMAL),
    ],
)
def test_down_comes_one_rung_at_a_time(level: Level, rung: Rung, seconds: float, to: Rung):
    calm = level is Level.CALM
    seen = Assessment(resources={"used": Resource(level=level, streak=0 if calm else 2, calm=calm)})
    standing = at(rung) if rung is not Rung.NORMAL else Standing(moved_at=NOW)
    move = step(seen, standing, IDLE, IN_USE, seconds=seconds)
    assert (move.rung, move.evict, move.terminate) == (to, None, None)
    assert move.standing.stands_at("vram") is to
    assert move.standing.stands_at("ram") is Rung.NORMAL


def test_what_was_past_its_mark_once_is_not_calm():
    seen = Assessment(resources={"used": Resource(level=Level.CALM, streak=1)})
    assert step(seen, at(TRIM)).rung is TRIM


@pytest.mark.parametrize(
    "other", [{}, {"other": Resource(level=Level.UNKNOWN)}, {"other": Resource(level=Level.CALM, calm=False)}]
)
def test_only_who_sees_calm_what_led_up_comes_down(other: dict[str, Resource]):
    seen = Assessment(resources={"used": Resource(level=Level.CALM, calm=True), **other})
    marks = [USED, USED.model_copy(update={"reading": "other"})]
    standing = at(EVICT).model_copy(update={"causes": {"other": "", "used": ""}})
    assert plan(seen, standing, marks, Scene(now=NOW + timedelta(hours=1))).rung is EVICT


def test_a_full_machine_that_is_quiet_ends_nobodys_work():
    host = FREE.model_copy(update={"firm": 5, "memory": "vram"})
    for firm_streak, rung in ((0, EVICT), (1, EVICT), (2, PAUSE)):  # one reading past it is no more than a spike
        full = Assessment(resources={"free": Resource(level=Level.HIGH, streak=2, firm_streak=firm_streak)})
        assert step(full, at(EVICT), IN_USE, mark=host).rung is rung
    seen = Assessment()
    for value, streak in ((4, 1), (4, 2), (6, 0), (4, 1)):
        seen = assess(read(free=value), [host], seen)
        assert seen.resources["free"].firm_streak == streak


def test_what_may_be_anothers_trouble_ends_nobodys_work_by_itself():
    stalls = USED.model_copy(update={"firm_with": ("free",)})
    alone = high(stalls)
    assert plan(alone, at(EVICT), [stalls, FREE], Scene(held=(IN_USE,), now=NOW + timedelta(hours=1))).rung is EVICT
    both = high(stalls, FREE)
    assert plan(both, at(EVICT), [stalls, FREE], Scene(held=(IN_USE,), now=NOW + timedelta(hours=1))).rung is PAUSE


def test_a_cause_that_may_not_lead_so_far_ends_nobody_in_its_own_memory():
    host = USED.model_copy(update={"reading": "host", "memory": "ram", "firm": 95})
    seen = high(FREE, host)
    standing = Standing(
        rung=PAUSE, moved_at=NOW, reached={"vram": PAUSE, "ram": EVICT}, causes={"free": "", "host": ""}
    )
    large = model(7, "ram", mib=9000, busy=True)
    move = plan(seen, standing, [FREE, host], Scene(held=(IN_USE, large), now=NOW + timedelta(hours=1)))
    assert (move.rung, move.terminate, move.memory) == (FORCE, 2, "vram")
    assert move.standing.stands_at("ram") is EVICT


def test_readings_that_do_not_change_sooner_count_once():
    stalls = USED.model_copy(update={"persistence": 3, "spacing_seconds": 2.0})
    seen, levels = Assessment(), []
    for at_s in (0.0, 0.1, 0.2, 2.0, 2.1, 4.0):
        seen = assess(read(used=95), [stalls], seen, at_s=at_s)
        levels.append((seen.levels["used"], seen.resources["used"].streak))
    assert [streak for _, streak in levels] == [1, 1, 1, 2, 2, 3]
    assert levels[-1][0] is Level.HIGH
    assert next_look_seconds(seen, least=0.1, most=2.0) == 2.0


def test_better_is_counted_from_when_it_became_so():
    seen = Assessment()
    for at_s, value in ((0, 95), (1, 95), (50, 74), (60, 70)):
        seen = assess(read(used=value), [USED], seen, at_s=at_s)
    assert step(seen, at(PAUSE), seconds=90).rung is PAUSE  # for 10 s, whatever was done how long ago
    seen = assess(read(used=70), [USED], seen, at_s=80)
    assert step(seen, at(PAUSE), seconds=90).rung is EVICT


def test_who_sees_the_first_bad_reading_takes_nothing_back():
    seen = assess(read(used=95), [USED], Assessment(), at_s=0)
    assert step(seen, at(PAUSE), IN_USE, seconds=900).rung is PAUSE


def test_what_was_about_a_model_that_left_is_over():
    slow = USED.model_copy(update={"of_model": True})
    standing = Standing(rung=EVICT, moved_at=NOW, reached={"vram": EVICT}, causes={"used": "m9"})
    unknown = Assessment(
        resources={"used": Resource(level=Level.UNKNOWN), "free": Resource(level=Level.CALM, calm=True)}
    )
    scene = Scene(held=(IDLE,), now=NOW + timedelta(hours=1))
    assert plan(unknown, standing, [slow, FREE], scene).rung is TRIM
    there = scene.model_copy(update={"held": (IDLE, model(9))})
    assert plan(unknown, standing, [slow, FREE], there).rung is EVICT


def test_the_shortcut_goes_no_further_than_it_may():
    gentle = CARD.model_copy(update={"most": TRIM})
    assert step(filling(100, 9000), Standing(), IDLE, mark=gentle, seconds=0).evict is None


def test_a_model_of_ours_on_its_way_is_no_emergency():
    loading = model(5, busy=True, settled=False)
    assert step(filling(100, 9000), Standing(), IDLE, loading, mark=CARD, seconds=0).evict is None


def test_nobody_leaves_for_what_is_anothers_fault():
    slack = USED.model_copy(update={"of_model": True, "most": EVICT})
    assert step(high(slack, about="m2"), at(TRIM), IDLE, IN_USE, mark=slack).evict is None
    assert step(high(slack, about="m1"), at(TRIM), IDLE, model(3, idle_seconds=900), mark=slack).evict == 1


def test_an_act_has_as_long_to_show_as_its_reading_takes():
    stalls = USED.model_copy(update={"shows_after_seconds": 20})
    assert step(high(stalls), at(TRIM), IDLE, mark=stalls, seconds=10).evict == 1  # nothing was freed yet
    assert step(high(stalls), at(EVICT), IDLE, mark=stalls, seconds=19).evict is None
    assert step(high(stalls), at(EVICT), IDLE, mark=stalls, seconds=20).evict == 1


def test_each_event_is_answered_once():
    signs = Mark(reading="signs", high=1, low=0, memory="vram", persistence=1)

    def sign(seconds_ago: float) -> Assessment:
        then = NOW - timedelta(seconds=seconds_ago)
        return Assessment(resources={"signs": Resource(level=Level.HIGH, streak=1, value=4, event_at=then)})

    assert step(sign(5), at(TRIM), IDLE, model(3), mark=signs).evict == 1
    assert step(sign(5), at(EVICT), IDLE, model(3), mark=signs).evict is None
    answered = at(EVICT).model_copy(update={"causes": {"signs": "NVRM"}})
    assert step(sign(5), answered, IDLE, model(3), mark=signs, seconds=999).rung is EVICT  # nor is it over
    assert step(sign(-5), answered, IDLE, model(3), mark=signs).evict == 1


def test_a_cause_leads_no_further_than_it_may():
    slack = USED.model_copy(update={"most": EVICT})
    assert step(high(slack), at(EVICT), IN_USE, mark=slack).rung is EVICT
    assert step(high(slack), at(PAUSE), IN_USE, mark=slack).rung is EVICT


def test_the_model_that_the_pressure_is_about_leaves_first():
    slow = model(3, idle_seconds=1)
    assert step(high(USED, about="m3"), at(TRIM), IDLE, slow).evict == 3


def test_who_is_needed_last_leaves_first_then_who_idles_longest():
    held = [model(1, idle_seconds=500), model(2, idle_seconds=100), model(3, idle_seconds=10)]
    assert next_victim(held) == held[0]
    assert next_victim(held, away_seconds={"m1": 60}) == held[1]
    assert next_victim(held, away_seconds={"m1": 60, "m2": 50, "m3": 70}) == held[2]


def test_the_largest_in_use_is_ended_first():
    held = [model(1, mib=500, busy=True), model(2, mib=4000, busy=True)]
    assert next_to_force(held) == held[1]


def filling(free: float, rate: float, streak: int = 0) -> Assessment:
    resource = Resource(level=Level.CALM, streak=streak, headroom=free, fill_rate=rate, trusted_rate=rate)
    return Assessment(resources={"free": resource})


@pytest.mark.parametrize(
    ("seen", "held", "rung", "evict", "terminate"),
    [
        (filling(1000, 2000), (IDLE, IN_USE), EVICT, 1, None),
        # nothing idle: who sits is ended once the card is really past its mark, not before
        (filling(1000, 2000), (IN_USE,), Rung.NORMAL, None, None),
        (filling(150, 1000, streak=1), (IN_USE,), FORCE, None, 2),
        # slow enough for the next look
        (filling(1000, 1000), (IDLE, IN_USE), Rung.NORMAL, None, None),
    ],
)
def test_what_will_be_full_before_the_next_look_is_acted_on_at_once(seen, held, rung, evict, terminate):
    standing = Standing(moved_at=NOW - timedelta(seconds=1))
    move = step(seen, standing, *held, mark=CARD, seconds=0, ahead_seconds=0.2)
    assert (move.rung, move.evict, move.terminate) == (rung, evict, terminate)
    assert move.urgent == (evict is not None or terminate is not None)


def test_two_who_look_do_one_thing():
    first = step(filling(1000, 9000), Standing(), IDLE, model(3), mark=CARD, seconds=0)
    again = step(filling(900, 9000), first.standing, IDLE, model(3), mark=CARD, seconds=0.1)
    assert (first.evict is not None, again.evict) == (True, None)


def test_what_a_rung_does_it_does_in_the_memory_under_pressure():
    standing = at(PAUSE, "ram")
    assert standing.at_least(TRIM, "ram")
    assert not standing.at_least(TRIM, "vram")
    move = step(high(USED), standing, IN_USE)  # and climbs from the bottom in another one
    assert (move.rung, move.memory) == (PAUSE, "vram")
    assert (move.standing.stands_at("vram"), move.standing.stands_at("ram")) == (TRIM, PAUSE)


def test_trim_shortens_the_keep_alive():
    assert keep_alive_seconds(Rung.TRIM, 600) < keep_alive_seconds(Rung.NORMAL, 600) == 600


@pytest.mark.parametrize("marks", [{"high": 80, "low": 80}, {"high": 90, "low": 80, "night": Band(high=70, low=75)}])
def test_marks_without_a_band_are_refused(marks: dict[str, float]):
    with pytest.raises(ValidationError, match="calm side"):
        Mark.model_validate({"reading": "used", **marks})
