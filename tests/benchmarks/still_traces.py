"""Traces of machines that look bad and stand still: marks are passed, and nothing happens if nobody acts.

What may be done there is gentle: shorter stays, and the end of a model that idles. To end anybody's work, or to close a
line, is a false act. Constructed, not recorded.
"""

from governor.policy.facts import Rung
from tests.benchmarks.curves import still
from tests.benchmarks.simulated_host import HostShape
from tests.benchmarks.trace_shape import Model, Shape, Trace

SECONDS = 600.0
SCHOLAR = Model("scholar", 5200, used=((0, 900),), memory="ram")
INDEXER = Model("indexer", 600, memory="ram", idle_seconds=300)

NEARLY_FULL = Trace(
    name="nearly full, and still",
    text="190 stay free by day and nothing grows for 10 min; an agent works, and a small model idles",
    shape=Shape(
        models=(Model("writer", 4700, used=((0, 900),)), Model("reader", 350)),
        desktop_mib=still(904),
    ),
    seconds=SECONDS,
    gentle_only=True,
    expected=((550, Rung.NORMAL),),
)
ALL_IN_USE = Trace(
    name="nearly full, all of it in use",
    text="the same 190 without a model that idles: there is nothing gentle that would free any",
    shape=Shape(models=(Model("writer", 4700, used=((0, 900),)),), desktop_mib=still(1254)),
    seconds=SECONDS,
    gentle_only=True,
    expected=((60, Rung.EVICT_IDLE), (599, Rung.EVICT_IDLE)),
)
GENTLE_ZRAM = Trace(
    name="compressed memory at its ease",
    text="zram: 20 MiB/s go out and 20 come back, 40% of swap in use, 30% stay available, stalls of 1%; an agent works",
    shape=Shape(
        models=(SCHOLAR, INDEXER),
        host=HostShape(
            hog_mib=still(1213),
            zram=True,
            cold_mib=3277,
            turned_over_mib_per_s=still(40),
            elsewhere_some_percent=still(1),
            elsewhere_full_percent=still(0.5),
        ),
    ),
    seconds=SECONDS,
    gentle_only=True,
    expected=((60, Rung.EVICT_IDLE), (599, Rung.EVICT_IDLE)),
)
CONTAINER = Trace(
    name="a container at its own limit",
    text="somebody's container of 768 MiB thrashes inside its limit: stalls of 60%, 20% full; 70% available, no swap",
    shape=Shape(
        models=(Model("scholar", 4000, used=((0, 900),), memory="ram"), INDEXER),
        host=HostShape(
            ram_mib=32768,
            swap_mib=0,
            hog_mib=still(768),
            elsewhere_some_percent=still(60),
            elsewhere_full_percent=still(20),
        ),
    ),
    seconds=SECONDS,
    gentle_only=True,
    expected=((120, Rung.EVICT_IDLE), (599, Rung.EVICT_IDLE)),
)
STILL_CARDS, STILL_HOSTS = (NEARLY_FULL, ALL_IN_USE), (GENTLE_ZRAM, CONTAINER)
