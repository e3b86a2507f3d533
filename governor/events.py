"""One log line per event, always with the same keys, in the process's log and in the flow run's.

Prefect carries the logger `hotdesk` to the flow run's log (`[tool.prefect.logging] extra_loggers`).
"""

import json
import logging
from typing import Any

logger = logging.getLogger("hotdesk")
KEYS = ("event", "ticket", "holder", "tier", "seconds")


def log_event(event: str, *, level: int = logging.INFO, **facts: Any) -> None:
    """Write `event` with `facts` as `key=value` pairs: the common keys first, always present."""
    ordered = {key: facts.pop(key, None) for key in KEYS[1:]}
    pairs = {"event": event, **ordered, **facts}
    logger.log(level, " ".join(f"{key}={_plain(value)}" for key, value in pairs.items()))


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return json.dumps(text) if " " in text or "=" in text or "\n" in text or not text else text
