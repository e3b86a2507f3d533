"""A run's first heartbeat comes after its first half minute, not at its first line; and no run waits for its beats.

Prefect's first beat of a run connects to the event stream and reads flow, deployment, queue and pool for it: seven
calls, a third of what a short run costs the server (measured). A beat tells that a run still lives, which its worker
sees by itself; an automation that waits for the next beat begins to with the first. All later beats are Prefect's.

Its thread of beats looks once a second whether the flow has ended, and the engine waits for that before it says that
the run is completed: up to a second of a place and of memory for nothing, for every run.
"""

import time
from functools import partial
from typing import Any

from prefect import flow_engine
from prefect.flow_engine import MINIMUM_HEARTBEAT_INTERVAL, BaseFlowRunEngine


def skip_the_first() -> None:
    """For this process, which runs one flow."""
    # As the engine does for async flows. The thread is a daemon: it does not outlive the process.
    flow_engine._send_heartbeats = partial(flow_engine._send_heartbeats, join_on_exit=False)
    begun_s, beat = time.monotonic(), BaseFlowRunEngine._emit_flow_run_heartbeat

    def emit(self: Any, *arguments: Any, **named: Any) -> None:
        # The loop's own steps are of a second, so the second beat may come a moment early.
        if time.monotonic() - begun_s >= MINIMUM_HEARTBEAT_INTERVAL - 1:
            beat(self, *arguments, **named)

    BaseFlowRunEngine._emit_flow_run_heartbeat = emit  # type: ignore[method-assign]
