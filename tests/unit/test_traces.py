"""The traces of the governor: they end as they say, rivals do on them what their documentation says, and so do we."""

import json
from functools import cache
from itertools import combinations

import pytest

from tests.benchmarks.curves import Curve, still
from tests.benchmarks.governor_traces import GUARDS, judge
from tests.benchmarks.guards import Act, Do, Readings
from tests.benchmarks.our_guard import OurGovernor
from tests.benchmarks.report import Report
from tests.benchmarks.rivals import (
    EarlyOom,
    LocalAi,
    SystemdOomd,
    earlyoom_signal,
    earlyoom_sleep_seconds,
    oomd_over_limits,
    oomd_swap_victim,
    reclaimer_fires,
)
from tests.benchmarks.simulated import Process, World
from tests.benchmarks.simulated_host import HostShape
from tests.benchmarks.trace_scores import Knowing, Nobody, Outcome, play
from tests.benchmarks.trace_shape import End, Model, Shape, Trace
from tests.benchmarks.traces import CARD_TRACES, HOST_TRACES, TRACES

DANGEROUS = [trace for trace in TRACES if trace.end is not None]
NAMES = [trace.name for trace in TRACES]


def named(traces):
    return [pytest.param(trace, id=trace.name) for trace in traces]


def known_to_fail(traces, why):
    """Parameters; what is known to fail has its reason, and must be taken off the list when it does not any more."""
    return [
        pytest.param(t, id=t.name, marks=[pytest.mark.xfail(reason=why[t.name], strict=True)] if t.name in why else [])
        for t in traces
    ]


# --- the traces themselves ------------------------------------------------------------------------------------------


def test_there_are_enough_of_them_and_each_is_told_in_words():
    assert len(TRACES) >= 14 and len(set(NAMES)) == len(TRACES)
    assert sum(trace.calm for trace in TRACES) >= 4 and sum(trace.gentle_only for trace in TRACES) >= 3
    assert len(CARD_TRACES) + len(HOST_TRACES) == len(TRACES) and not any(t.gentle_only and not t.calm for t in TRACES)
    assert all(trace.text and trace.expected for trace in TRACES)


@pytest.mark.parametrize("trace", named(TRACES))
def test_a_trace_ends_as_it_says_when_nobody_acts(trace):
    done = play(trace, Nobody())
    assert done.ended is trace.end
    if trace.end is not None:
        assert done.ended_s == pytest.approx(trace.end_s, abs=1.0)
        assert trace.begins_s is not None and trace.begins_s < trace.end_s


@pytest.mark.parametrize("trace", named(DANGEROUS))
def test_the_cure_is_enough_and_no_part_of_it_is(trace):
    assert play(trace, Knowing(trace, list(trace.cure))).ended is None
    for part in combinations(trace.cure, len(trace.cure) - 1):
        assert play(trace, Knowing(trace, list(part))).ended is not None


@pytest.mark.parametrize("trace", named(DANGEROUS))
def test_nothing_is_past_the_reserve_before_the_pressure_begins(trace):
    world = World(trace.shape)
    while world.at_s < trace.begins_s - 0.1 and trace.begins_s > 0:
        world.step()
        assert world.ended is None
        assert world.vram_free_mib >= 350 or trace.pressed == ("ram",)


def test_a_trace_is_the_same_every_time():
    trace = next(trace for trace in TRACES if trace.name == "two causes at once")
    one, two = play(trace, OurGovernor(), seed=3), play(trace, OurGovernor(), seed=3)
    assert one.acts == two.acts and one.acts


# --- the machine ----------------------------------------------------------------------------------------------------


def test_what_is_evicted_is_free_a_little_later_and_who_is_in_use_is_not_evicted():
    world = World(Shape(models=(Model("idle", 1000), Model("busy", 2000, used=((0, 60),)))))
    world.step()
    free_mib = world.vram_free_mib
    assert not world.apply(Act(Do.EVICT, "busy"))
    assert world.apply(Act(Do.EVICT, "idle")) and not world.apply(Act(Do.EVICT, "idle"))
    assert world.vram_free_mib == free_mib
    for _ in range(4):
        world.step()
    assert world.vram_free_mib == free_mib + 1000
    assert world.apply(Act(Do.TERMINATE, "busy"))


def test_an_agent_loads_its_model_again_when_it_fits_and_its_line_is_open():
    world = World(Shape(models=(Model("busy", 2000, used=((0, 60),)),)))
    world.step()
    world.apply(Act(Do.PAUSE, "vram"))
    world.apply(Act(Do.TERMINATE, "busy"))
    for _ in range(30):
        world.step()
    assert "busy" not in world.residents
    world.apply(Act(Do.RESUME, "vram"))
    for _ in range(15):
        world.step()
    assert world.residents["busy"].busy and world.reloads == 1


# --- the rivals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("available_percent", "swap_free_percent", "sent"),
    [
        (50, 50, None),
        (2, 60, None),  # issues 34 and 100: a machine that swaps itself to death
        (60, 0, None),
        (10, 10, "SIGTERM"),
        (10.1, 10, None),
        (4, 9, "SIGTERM"),
        (9, 4, "SIGTERM"),
        (5, 5, "SIGKILL"),
        (9, 0, "SIGTERM"),  # no swap counts as none free
        (3, 0, "SIGKILL"),
    ],
)
def test_earlyoom_wants_memory_and_swap_both_low(available_percent, swap_free_percent, sent):
    assert earlyoom_signal(available_percent, swap_free_percent) == sent


@pytest.mark.parametrize(
    ("available_mib", "swap_free_mib", "seconds"),
    [(16384, 8192, 1.0), (1638, 819, 0.1), (1638 + 3000, 819, 0.5), (1638 + 1200, 819 + 160, 0.4), (100, 50, 0.1)],
)
def test_earlyoom_sleeps_for_headroom_over_fill_rate(available_mib, swap_free_mib, seconds):
    slept = earlyoom_sleep_seconds(available_mib, 16384, swap_free_mib, 8192)
    assert slept == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize(
    ("available_percent", "swap_free_percent", "over"), [(9, 9, True), (11, 1, False), (1, 11, False), (10, 9, False)]
)
def test_oomd_wants_memory_and_swap_both_used_beyond_its_limit(available_percent, swap_free_percent, over):
    assert oomd_over_limits(available_percent, swap_free_percent) is over


def test_oomd_kills_who_swapped_most_if_that_is_more_than_a_twentieth():
    small, large = Process("small", "", 9000, 300), Process("large", "", 100, 500)
    assert oomd_swap_victim([small, large], 8192) is large
    assert oomd_swap_victim([small], 8192) is None


@pytest.mark.parametrize(
    ("vram_percent", "ram_percent", "fires"),
    [(95.0, 99, False), (95.1, 10, True), (None, 96, True), (None, 90, False), (None, None, False)],
)
def test_localai_looks_at_the_card_and_at_the_host_where_there_is_none(vram_percent, ram_percent, fires):
    assert reclaimer_fires(vram_percent, ram_percent) is fires


class Told:
    """FAKE readings: what a sensor would say at each second, whatever the machine does."""

    def __init__(self, guard, curves):
        self.guard, self.curves, self.acts = guard, curves, []
        self.name = "told"

    def step(self, at_s: float, readings: Readings, world: World) -> list[Act]:
        seen = {**readings, **{name: curve.at(at_s) if curve else None for name, curve in self.curves.items()}}
        acts = self.guard.step(at_s, seen, world)
        self.acts += [(at_s, act.do, act.target) for act in acts]
        return acts


def acts_of(guard, shape, readings, seconds=120.0):
    """When it did what to whom, on a machine where these readings are told."""
    told = Told(guard, readings)
    play(Trace("made by hand", "", shape, seconds), told)
    return told.acts


THREE = (
    Model("old", 500, idle_seconds=900),
    Model("busy", 800, used=((0, 500),)),
    Model("young", 700, idle_seconds=30),
)


def test_earlyoom_ends_the_largest_process_once_and_waits_for_it():
    shape = Shape(models=(Model("engine", 5000, memory="ram", used=((0, 99),)),), host=HostShape(hog_mib=still(4000)))
    low = {
        "host_available_percent": Curve((10, 50), (10.1, 8)),
        "swap_used_percent": still(95),
    }
    acts = acts_of(EarlyOom(), shape, low, 10.4)
    assert [(do, target) for _, do, target in acts] == [(Do.KILL, "engine")]
    assert acts[0][0] <= 11


def test_oomd_kills_after_thirty_seconds_of_pressure_without_a_break_and_not_again_for_fifteen():
    shape = Shape(models=THREE, host=HostShape(hog_mib=still(9000), hogs=3))
    pressed = Curve((10, 0), (10.1, 70), (30, 70), (30.1, 50), (30.9, 50), (31, 70))
    acts = acts_of(SystemdOomd(), shape, {"psi_memory_full_percent": pressed}, 80)
    assert [round(at_s) for at_s, _, _ in acts] == [61, 76]
    assert all(target.startswith("hog") or target == "desktop" for _, _, target in acts)
    assert not acts_of(SystemdOomd(), shape, {"psi_memory_full_percent": still(60)})


def test_localai_evicts_the_longest_unused_one_a_look_and_never_one_in_use():
    full = {"vram_free_mib": Curve((10, 400), (10.1, 300))}
    acts = acts_of(LocalAi(), Shape(models=THREE), full)
    assert [target for _, _, target in acts] == ["old", "young"]
    assert acts[1][0] - acts[0][0] == pytest.approx(0.5)


def test_localai_takes_one_wrong_reading_for_pressure_and_the_host_for_a_card_that_is_silent():
    spike = {"vram_free_mib": Curve((10, 900), (10.1, 50), (10.5, 50), (10.6, 900))}
    assert len(acts_of(LocalAi(), Shape(models=THREE), spike)) == 1
    silent = {"vram_free_mib": None, "host_available_percent": Curve((10, 50), (10.1, 4))}
    assert [target for _, _, target in acts_of(LocalAi(), Shape(models=THREE), silent)] == ["old", "young"]


# --- ours -----------------------------------------------------------------------------------------------------------

PHASES = (0.3, 0.8)
IN_PHASES = (PHASES[0], pytest.param(PHASES[1], marks=pytest.mark.long))
# Every second trace each time, all of them with --long: one takes a second of CPU, and there are 27.
OFTEN = {trace.name for trace in TRACES[::2]}
FLOW_ONLY = "only the flow sees it: where that comes 90 s later the ladder is up 90 s later, and not for so long"
ONE_PHASE = dict.fromkeys(("cache slack", "suspended, and calls are given up"), FLOW_ONLY)
WRONG_RUNG: dict[str, str] = {}
WRONG_ACTS: dict[str, str] = {}


class Watched:
    """Our governor, and where its ladder stood at the end of each step."""

    def __init__(self, phase: float):
        self.ours, self.rungs, self.name = OurGovernor(phase=phase), {}, "ours"

    def step(self, at_s: float, readings: Readings, world: World) -> list[Act]:
        acts = self.ours.step(at_s, readings, world)
        self.rungs[at_s] = self.ours.rung
        return acts


def often(cases):
    """The same cases, those that are not of every day marked so."""
    return [
        case
        if case.values[0].name in OFTEN
        else pytest.param(*case.values, id=case.id, marks=[*case.marks, pytest.mark.long])
        for case in cases
    ]


@cache
def ours_on(name: str, phase: float) -> tuple[Outcome, Watched]:
    watched = Watched(phase)
    return play(next(trace for trace in TRACES if trace.name == name), watched), watched


@pytest.mark.parametrize("phase", IN_PHASES)
@pytest.mark.parametrize("trace", often(known_to_fail(TRACES, WRONG_RUNG)))
def test_our_ladder_stands_where_it_should(trace, phase):
    if trace.name in ONE_PHASE and phase != PHASES[0]:
        pytest.skip(ONE_PHASE[trace.name])
    _, watched = ours_on(trace.name, phase)
    stood = {at_s: watched.rungs.get(float(at_s)) for at_s, _ in trace.expected}
    assert stood == dict(trace.expected)


@pytest.mark.parametrize("phase", IN_PHASES)
@pytest.mark.parametrize("trace", often(known_to_fail(TRACES, WRONG_ACTS)))
def test_ours_is_in_time_acts_only_under_pressure_and_ends_no_more_than_it_has_to(trace, phase):
    done, _ = ours_on(trace.name, phase)
    assert (done.ended, done.false_acts, done.over_evictions) == (None, [], 0)


@pytest.mark.parametrize("trace", named([trace for trace in TRACES if trace.gentle_only]))
def test_a_still_trace_is_past_a_mark_and_ours_is_gentle_there(trace):
    done, _ = ours_on(trace.name, PHASES[0])
    assert done.gentle_acts and not done.hits["ours in use"]


# --- the benchmark --------------------------------------------------------------------------------------------------


def test_a_small_run_prints_every_target(capsys):
    traces = [trace for trace in TRACES if trace.name in ("a game starts", "a healthy load")]
    plays = {name: [play(trace, make(0.3)) for trace in traces] for name, make in GUARDS.items()}
    report = Report("governor_traces", {})
    judge(report, plays)
    report.emit()
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [target["name"] for target in printed["targets"]] == ["in time", "calm", "over-evictions"]
    assert printed["baseline"]["nobody"]["in_time"] == 0
    assert printed["baseline"]["earlyoom"]["traces_of_cards"]["in_danger"] == 1
    assert printed["baseline"]["earlyoom"]["traces_of_hosts"]["in_danger"] == 0
    assert printed["baseline"]["nobody"]["by_trace"]["a game starts"]["ended"] == {End.CARD_FULL.value: 1}
