"""A watch beside the seat, and while `hotdesk up` runs: it looks after the machine as `govern` does, but often.

Ten times a second it glances at the card's memory, which can fill in less than a second; every 2 s, and sooner while
something is on its way up, it looks with all sensors that cost next to nothing. What it does is `governing`'s. Its own
failures never reach the agent.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from governor.effects import Stop
from governor.events import log_event
from governor.governing import LEAST_LOOK_SECONDS, MOST_LOOK_SECONDS, Watch
from governor.looking import Sensors
from governor.standing import known_rules
from governor.state.models import GovernorTick
from governor.tick import record_look

# A seat that is over sooner pays nothing; the load at its beginning has a watch of its own (`load_watch`).
FIRST_LOOK_SECONDS = 0.5
# An unload that it is in the middle of takes 5 s at most; past that it ends with the process, and others finish it.
STOP_SECONDS = 6.0


def watch_as(by: str) -> Watch:
    """A watch with the sensors of this machine."""
    sensors = Sensors()
    return Watch(by, sensors, sensors.glance, close=sensors.close)


class Sentinel:
    """What runs beside one seat, or beside `hotdesk up`.

    Args:
        watch: made when it begins to run, in its own thread.
    """

    def __init__(self, watch: Callable[[], Watch]) -> None:
        self._make_watch = watch
        self._next_look_s = 0.0

    def run(self, stop: Stop) -> None:
        """Look until told to stop."""
        watch, seconds = None, FIRST_LOOK_SECONDS
        try:
            while not stop.wait(seconds):
                try:
                    watch = watch or self._make_watch()
                    self._step(watch, time.monotonic())
                    seconds = LEAST_LOOK_SECONDS
                except Exception as error:  # whatever it is, the agent must not suffer, and the next look may do
                    seconds = MOST_LOOK_SECONDS
                    log_event("sentinel_failed", level=logging.WARNING, why=f"{type(error).__name__}: {error}"[:300])
        finally:
            if watch is not None:
                watch.close()

    def _step(self, watch: Watch, clock_s: float) -> None:
        """A look when one is due, else a glance, which may bring the next look forward and never puts it off."""
        now = datetime.now(UTC)
        if clock_s >= self._next_look_s:
            watch.rules = known_rules()
            row: GovernorTick | None = watch.look(now=now, clock_s=clock_s)
            self._next_look_s = clock_s + watch.look_again_seconds
        else:
            row = watch.glance(now=now, clock_s=clock_s)
            self._next_look_s = min(self._next_look_s, clock_s + watch.look_again_seconds)
        if row is not None and row.actions and not row.dry_run:
            record_look(row)
