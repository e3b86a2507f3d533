"""Which questions were answered at earlier runs, so that a cap on a run counts the new ones only."""

from collections.abc import Sequence
from datetime import UTC, datetime

from blocks import run as frame
from governor import remembered
from governor.policy.requests import ModelRequest, stricter


def are_known(run: frame.Run, requests: Sequence[ModelRequest]) -> list[bool]:
    """For each request whether the run gets its answer without asking a model."""
    told = run.parameters
    filled = [
        request.model_copy(
            update={
                "quality": request.quality or told.quality,
                "privacy": stricter(request.privacy, told.privacy),
            }
        )
        for request in requests
    ]
    router = frame.current_router()
    found = remembered.recall(run.agent, filled, now=datetime.now(UTC), largest=router.largest_billion)
    return [answer is not None for answer in found]
