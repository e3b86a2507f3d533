"""What counts as a mistake of a guard, whoever it is: on a calm trace everything, on a still one what is not gentle."""

import pytest

from tests.benchmarks.guards import Act, Do, Readings
from tests.benchmarks.simulated import World
from tests.benchmarks.trace_scores import play
from tests.benchmarks.trace_shape import Model, Shape, Trace

IDLE_AND_BUSY = Shape(models=(Model("idle", 1000), Model("busy", 2000, used=((0, 60),))))


class Once:
    """FAKE guard: does these things in the tenth second."""

    def __init__(self, *acts: Act):
        self.acts, self.name = acts, "once"

    def step(self, at_s: float, readings: Readings, world: World) -> list[Act]:
        return list(self.acts) if at_s == 10 else []


@pytest.mark.parametrize(
    ("act", "still_false", "gentle", "over"),
    [
        (Act(Do.TRIM), 0, 1, 0),
        (Act(Do.EVICT, "idle"), 0, 1, 0),
        (Act(Do.EVICT, "busy"), 0, 0, 0),  # refused: nothing happened
        (Act(Do.TERMINATE, "busy"), 1, 0, 1),
        (Act(Do.TERMINATE, "idle"), 1, 0, 1),
        (Act(Do.KILL, "idle"), 1, 0, 1),
        (Act(Do.KILL, "desktop"), 1, 0, 0),
        (Act(Do.PAUSE, "vram"), 1, 0, 0),
    ],
)
def test_on_a_still_trace_only_what_is_gentle_is_no_mistake(act, still_false, gentle, over):
    still_one = play(Trace("by hand", "", IDLE_AND_BUSY, 30, gentle_only=True), Once(act))
    assert (len(still_one.false_acts), len(still_one.gentle_acts)) == (still_false, gentle)
    assert still_one.over_evictions == over
    calm = play(Trace("by hand", "", IDLE_AND_BUSY, 30), Once(act))
    assert (len(calm.false_acts), calm.gentle_acts) == (len(calm.acts), [])
