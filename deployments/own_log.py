"""Where the commands' own events go: a file in the state folder, never into what a person reads."""

import logging
import os

from governor.settings import Home


def log_to_file(where: Home, name: str) -> None:
    """Send this process's `hotdesk` events to logs/NAME.log. Call before Prefect is imported.

    Outside a flow run Prefect's handler has nowhere to send them, and would warn once per call site.
    """
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    handler = logging.FileHandler(where.logs / f"{name}.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("hotdesk")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
