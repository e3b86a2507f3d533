"""Traces of a model that runs on the CPU and does not say so: nothing fills up, and the agents crawl.

Its memory tells a spill at once. Its speed tells only once enough calls are through, and a slow call takes minutes: the
process is slow from the second that is written down, and nobody can know it before. Constructed, not recorded.
"""

from governor.policy.facts import Rung
from tests.benchmarks.curves import Curve
from tests.benchmarks.trace_shape import End, Model, Shape, Trace, bursts

TWO_HOURS = 7200.0

SUSPEND = Trace(
    name="suspended for two hours",
    text="asleep at 50 s; awake, it runs on the CPU at 6% of its speed and says nothing; a run of 5 calls every 15 min",
    shape=Shape(
        models=(
            Model(
                "writer",
                3600,
                used=((0, 20), *bursts(7270, 9970, 50, 850)),
                speed_percent=Curve((7264.9, 100), (7265, 6)),
            ),
        ),
        asleep=(50, TWO_HOURS),
    ),
    seconds=9400,
    begins_s=7265,
    until_s=9400,
    end=End.CRAWLS,
    end_s=9221,
    cure=("writer",),
    pressed=("vram",),
    expected=((7255, Rung.NORMAL), (7740, Rung.NORMAL), (7950, Rung.EVICT_IDLE), (9390, Rung.NORMAL)),
)
GIVEN_UP = Trace(
    name="suspended, and calls are given up",
    text="the same with a larger model: its answers would take 239 s, a call may 168; a run of 2 calls every 15 min",
    shape=Shape(
        models=(
            Model(
                "writer",
                4600,
                used=((0, 20), *bursts(7270, 9970, 30, 870)),
                speed_percent=Curve((7264.9, 100), (7265, 6)),
                tokens_per_s=20.0,
            ),
        ),
        asleep=(50, TWO_HOURS),
    ),
    seconds=9600,
    begins_s=7265,
    until_s=9600,
    end=End.CRAWLS,
    end_s=9465,
    cure=("writer",),
    pressed=("vram",),
    expected=((7255, Rung.NORMAL), (7940, Rung.NORMAL), (8000, Rung.EVICT_IDLE), (9590, Rung.NORMAL)),
)
SPILL = Trace(
    name="layers spill to the CPU",
    text="at 60 s the server reloads it, 900 MiB of it on the CPU: 6% of the speed; a run of 3 calls every 10 min",
    shape=Shape(
        models=(
            Model(
                "writer",
                4300,
                used=bursts(60, 3060, 30, 570),
                spilled_mib=Curve((59.9, 0), (60, 900)),
                speed_percent=Curve((59.9, 100), (60, 6)),
            ),
        )
    ),
    seconds=2300,
    begins_s=60,
    until_s=2300,
    end=End.CRAWLS,
    end_s=2170,
    cure=("writer",),
    pressed=("vram",),
    expected=((55, Rung.NORMAL), (280, Rung.EVICT_IDLE), (500, Rung.EVICT_IDLE), (1200, Rung.NORMAL)),
)
SPILL_QUEUE = Trace(
    name="layers spill, and agents queue",
    text="the same with a run of 10 calls every 2 min: slow as it is they wait in line, and it never idles for long",
    shape=Shape(
        models=(
            Model(
                "writer",
                4300,
                used=bursts(0, 2400, 100, 20),
                spilled_mib=SPILL.shape.models[0].spilled_mib,
                speed_percent=SPILL.shape.models[0].speed_percent,
            ),
        )
    ),
    seconds=1900,
    begins_s=60,
    until_s=1900,
    end=End.CRAWLS,
    end_s=1800,
    cure=("writer",),
    pressed=("vram",),
    expected=((55, Rung.NORMAL), (280, Rung.EVICT_IDLE)),
)
SLOW_MODELS = (SUSPEND, GIVEN_UP, SPILL, SPILL_QUEUE)
