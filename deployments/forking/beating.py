"""A run's first heartbeat comes after its first half minute, not at its first line.

Prefect's first beat of a run connects to the event stream and reads flow, deployment, queue and pool for it: seven
calls, a third of what a short run costs the server (measured). A beat tells that a run still lives, which its worker
sees by itself; an automation that waits for the next beat begins to with the first. All later beats are Prefect's.
"""

import time
from typing import Any

from prefect.flow_engine import MINIMUM_HEARTBEAT_INTERVAL, BaseFlowRunEngine


def skip_the_first() -> None:
    """For this process, which runs one flow."""
    begun_s, beat = time.monotonic(), BaseFlowRunEngine._emit_flow_run_heartbeat

    def emit(self: Any, *arguments: Any, **named: Any) -> None:
        # The loop's own steps are of a second, so the second beat may come a moment early.
        if time.monotonic() - begun_s >= MINIMUM_HEARTBEAT_INTERVAL - 1:
            beat(self, *arguments, **named)

    BaseFlowRunEngine._emit_flow_run_heartbeat = emit  # type: ignore[method-assign]
