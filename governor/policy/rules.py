"""What an operator may set of the governor, and what counts where nothing is set. Pure.

The form for it is `blocks.policy`; what follows from it is `pressure`, `escalation` and `watermarks`.
"""

from pydantic import Field

from governor.policy.facts import Fact, Rung
from governor.policy.ladder import Cooldown
from governor.policy.pressure import Also, Band, Mark
from governor.policy.watermarks import Hours

# Where each figure comes from:
# - VRAM free: ComfyUI keeps 400 MiB on every card for the desktop, and so does admission: calm there, trouble below
#   half of it. By night nobody draws, and nothing is in a hurry: sooner. A card that is full and still harms nobody, so
#   firmly only below a quarter.
# - slack: a process that freed half of its blocks gives nothing back (measured); 512 MiB is a 1B model's room.
# - spill: layers on the CPU make a model 16 times slower (measured); less than 100 MiB is noise of a measurement.
# - speed: a CPU writes at 6% of the card's speed (measured), a card that is hot or on battery at some 60%.
# - kernel signs: the driver's own last words before a desktop freezes; each counts for five minutes, and is answered
#   once: only a new one leads further.
# - host available: earlyoom acts at 10% and kills at 5%.
# - swap: 16 MiB/s to and from a disk is a machine that waits for it; a little of that with hardly anything swapped is
#   a program that was started. To compressed memory (zram) it costs next to nothing, so it leads no further than to
#   idle models unless something waits, or memory is short. earlyoom and systemd-oomd look at the level alone.
# - stalls: systemd-oomd kills at 60% "full" for 30 s; people feel "some" 40% and "full" 10% long before. The kernel
#   makes these means of 10 s anew every 2 s, so an act takes 20 s to show in them. Another container that stalls inside
#   its own limit counts too, and nothing of ours helps it: the same condition.
STALLS = ("psi_memory_some_percent", "psi_memory_full_percent")
DEFAULT_MARKS = (
    Mark(reading="models_percent", high=100.0, low=95.0, most=Rung.EVICT_IDLE),
    Mark(
        reading="vram_free_mib",
        high=200.0,
        low=400.0,
        rising_is_bad=False,
        memory="vram",
        night=Band(high=300.0, low=500.0),
        firm=100.0,
        brim=0.0,
        filled_by="vram_others_mib",
    ),
    Mark(
        reading="vram_slack_mib",
        high=512.0,
        low=256.0,
        memory="vram",
        persistence=3,
        most=Rung.EVICT_IDLE,
        of_model=True,
    ),
    Mark(reading="spilled_mib", high=100.0, low=50.0, memory="vram", most=Rung.EVICT_IDLE, of_model=True),
    Mark(
        reading="speed_percent",
        high=40.0,
        low=60.0,
        rising_is_bad=False,
        memory="vram",
        most=Rung.EVICT_IDLE,
        of_model=True,
    ),
    Mark(
        reading="kernel_signs",
        high=1.0,
        low=0.0,
        memory="vram",
        persistence=1,
        most=Rung.PAUSE_LINE,
    ),
    Mark(
        reading="host_available_percent",
        high=10.0,
        low=15.0,
        rising_is_bad=False,
        memory="ram",
        firm=5.0,
        brim=0.0,
    ),
    Mark(
        reading="swap_mib_per_s",
        high=16.0,
        low=2.0,
        memory="ram",
        persistence=3,
        spacing_seconds=1.0,
        also=Also(reading="swap_used_percent", high=20.0, low=10.0),
        firm_with=(*STALLS, "host_available_percent"),
    ),
    *(
        Mark(
            reading=reading,
            high=high,
            low=low,
            memory="ram",
            persistence=3,
            spacing_seconds=2.0,
            firm_with=("swap_mib_per_s", "host_available_percent"),
            shows_after_seconds=20.0,
        )
        for reading, high, low in zip(STALLS, (40.0, 10.0), (15.0, 3.0), strict=True)
    ),
)


class Rules(Fact):
    """Marks, keep-alive (None: the profile's), how full by day and by night, cooldowns, dry run."""

    marks: tuple[Mark, ...] = DEFAULT_MARKS
    keep_alive_seconds: float | None = None
    hours: Hours = Field(default_factory=Hours)
    cooldown: Cooldown = Field(default_factory=Cooldown)
    dry_run: bool = False
