"""Traces whose trouble is the host's memory (16 GiB, 8 GiB of swap), the sensors, or both memories at once.

Constructed, not recorded. `hog_mib` is somebody else's program. 1,200 MiB of system, 3,000 of desktop, 256 of kernel.
"""

import random
from collections.abc import Iterator

from governor.policy.facts import Rung
from tests.benchmarks.curves import Curve
from tests.benchmarks.simulated import STEP_SECONDS
from tests.benchmarks.simulated_host import HostShape
from tests.benchmarks.trace_shape import End, Model, Shape, Trace

# In RAM, at the line `cpu`: 7B at Q4, and the small one that works all the time.
THINKER = Model("thinker", 5200, memory="ram", load_seconds=4.0)
INDEXER = Model("indexer", 600, memory="ram", idle_seconds=300)
CLERK = Model("clerk", 900, used=((0, 900),), memory="ram", load_seconds=0.8)
BUILD = Curve((60, 4000), (180, 9400), (400, 9400), (401, 4000))

SWAP_STORM = Trace(
    name="swap storm",
    text="a build grows from 4 to 9.4 GiB, 60 s to 180 s, on a disk for swap; 14% stay 'available', most swap is free",
    shape=Shape(models=(THINKER, INDEXER, CLERK), host=HostShape(hog_mib=BUILD, cache_mib=2300)),
    seconds=560,
    begins_s=90,
    until_s=401,
    end=End.FROZEN,
    end_s=183,
    cure=("thinker",),
    pressed=("ram",),
    expected=((85, Rung.NORMAL), (105, Rung.TRIM), (115, Rung.EVICT_IDLE), (300, Rung.NORMAL)),
)
SILENT_ZRAM = Trace(
    name="PSI silent on zram",
    text="the same on compressed memory: 1 GiB/s go in and out, stalls stay below 10%",
    shape=Shape(models=(THINKER, INDEXER, CLERK), host=HostShape(hog_mib=BUILD, cache_mib=2300, zram=True)),
    seconds=560,
    begins_s=90,
    until_s=401,
    end=End.FROZEN,
    end_s=192,
    cure=("thinker",),
    pressed=("ram",),
    expected=((110, Rung.NORMAL), (130, Rung.TRIM), (140, Rung.EVICT_IDLE), (300, Rung.NORMAL)),
)
PSI_STORM = Trace(
    name="stalls without swap",
    text="no swap; 16 compilers take all but the hot page cache, read again and again; 13% stay 'available'",
    shape=Shape(
        models=(Model("scholar", 5200, used=((0, 560),), memory="ram"), Model("thinker", 2600, memory="ram")),
        host=HostShape(
            hog_mib=Curve((60, 1000), (120, 4000), (400, 4000), (401, 1000)), hogs=16, cache_mib=2150, swap_mib=0
        ),
    ),
    seconds=560,
    begins_s=80,
    until_s=401,
    end=End.FROZEN,
    end_s=174,
    cure=("thinker",),
    pressed=("ram",),
    expected=((85, Rung.NORMAL), (98, Rung.TRIM), (108, Rung.EVICT_IDLE), (300, Rung.NORMAL)),
)
SWAP_FULL = Trace(
    name="swap runs full",
    text="twelve tabs take 40 MiB/s from 60 s; memory and 2 GiB of swap are gone at 232 s; 8.4 GiB in all, until 290 s",
    shape=Shape(
        models=(THINKER, CLERK),
        host=HostShape(hog_mib=Curve((60, 1000), (270, 9400), (290, 9400), (291, 1000)), hogs=12, swap_mib=2048),
    ),
    seconds=460,
    begins_s=119,
    until_s=291,
    end=End.HOST_FULL,
    end_s=232,
    cure=("thinker",),
    pressed=("ram",),
    expected=((135, Rung.NORMAL), (145, Rung.TRIM), (155, Rung.EVICT_IDLE), (250, Rung.NORMAL), (455, Rung.NORMAL)),
)
TWO_CAUSES = Trace(
    name="two causes at once",
    text="a neighbour takes 20 MiB/s of the card and a build swaps on zram, both from 60 s, each enough by itself",
    shape=Shape(
        models=(THINKER, CLERK, Model("writer", 2600), Model("sorter", 1500, used=((0, 500),))),
        neighbour_mib=Curve((60, 0), (180, 2400), (400, 2400), (401, 0)),
        host=HostShape(hog_mib=Curve((60, 3000), (160, 8200), (400, 8200), (401, 3000)), cache_mib=2300, zram=True),
    ),
    seconds=560,
    begins_s=100,
    until_s=401,
    end=End.CARD_FULL,
    end_s=146,
    cure=("writer", "thinker"),
    pressed=("vram", "ram"),
    expected=((115, Rung.NORMAL), (130, Rung.TRIM), (143, Rung.EVICT_IDLE), (300, Rung.NORMAL)),
)
FULL_BUT_QUIET = Trace(
    name="full, but quiet",
    text="from 60 s to 300 s 10.5% are available, nothing is swapped, nobody waits: nothing happens; an agent works",
    shape=Shape(
        models=(Model("scholar", 5200, used=((0, 420),), memory="ram"),),
        host=HostShape(hog_mib=Curve((50, 1000), (60, 5000), (300, 5000), (310, 1000))),
    ),
    seconds=420,
    expected=tuple((at_s, Rung.NORMAL) for at_s in (45, 65, 150, 299, 415)),
)


def _lies(seconds: float) -> Iterator[tuple[float, str, float | None]]:
    """One wrong step in every two seconds or so, and steps that say nothing; never two in a row."""
    rng, at_s = random.Random(5), 3.0
    wrong = {
        "vram_free_mib": (20.0, 90.0),
        "vram_others_mib": (3000.0, 5000.0),
        "host_available_percent": (1.0, 6.0),
        "swap_mib_per_s": (200.0, 900.0),
        "psi_memory_some_percent": (70.0, 99.0),
        "psi_memory_full_percent": (70.0, 99.0),
        "vram_slack_mib": (600.0, 900.0),
        "speed_percent": (1.0, 20.0),
    }
    while at_s < seconds:
        name = rng.choice(list(wrong))
        yield round(at_s, 1), name, None if rng.random() < 0.3 else rng.uniform(*wrong[name])
        at_s += STEP_SECONDS * rng.randint(3, 30)


NOISE = Trace(
    name="a noisy sensor",
    text="all is well; every second or so one reading is wrong, or missing, for a tenth of a second",
    shape=Shape(
        models=(Model("writer", 2600), Model("sorter", 1300, used=((0, 400),)), CLERK),
        noise=tuple(_lies(400)),
        host=HostShape(cold_mib=2500),
    ),
    seconds=400,
    expected=tuple((at_s, Rung.NORMAL) for at_s in (50, 100, 200, 300, 399)),
)
MORNING = Trace(
    name="a program comes back from swap",
    text="800 MiB lie in swap; an editor of 2 GiB starts at 60 s, and for 12 s 40 MiB/s are read back",
    shape=Shape(
        models=(THINKER, CLERK),
        host=HostShape(
            hog_mib=Curve((60, 500), (64, 2500)),
            cold_mib=800,
            woken_mib_per_s=Curve((60, 0), (61, 40), (73, 40), (74, 0)),
        ),
    ),
    seconds=240,
    expected=((70, Rung.NORMAL), (239, Rung.NORMAL)),
)
HOSTS = (SWAP_STORM, SILENT_ZRAM, PSI_STORM, SWAP_FULL, FULL_BUT_QUIET, NOISE, MORNING)
