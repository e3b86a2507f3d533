"""Act of the rung `evict idle`: one idle model leaves memory, and what that freed is measured."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from governor.errors import HotdeskError
from governor.events import log_event
from governor.memory import memory
from governor.policy.facts import Held
from governor.unloading import unload_idle

# The last use is reckoned back from seconds of idleness; two uses within one second are the same to who looks.
ROUNDING = timedelta(seconds=1)


class Unload(Protocol):
    """How a model leaves memory: `governor.unloading.unload_idle`, or a fake."""

    def __call__(self, resident_id: int, *, reason: str, unless_used_since: datetime | None = None) -> bool:
        """Evict one model unless somebody uses it, or did since then; True once its memory is back."""
        ...


@dataclass(frozen=True)
class Done:
    """What came of an act, in words, and whether it freed anything."""

    said: str
    freed: bool


def evict(model: Held, reason: str, *, seen_at: datetime, even_pinned: bool = False) -> Done:
    """Unload it unless somebody used it since it was looked at; its row is claimed first.

    Args:
        model: as it was held at `seen_at` (aware UTC). reason: for the record.
        even_pinned: the last rung spares no pin.
    """
    where = memory(model.memory)
    before = where.free_mib()
    why_not = why_it_stays(model, reason, seen_at=seen_at, even_pinned=even_pinned)
    if why_not is not None:
        return Done(why_not, freed=False)
    return Done(f"evicted {named(model)}{measured(model.memory, before, where.free_mib())}", freed=True)


def why_it_stays(
    model: Held, reason: str, *, seen_at: datetime, even_pinned: bool = False, unload: Unload = unload_idle
) -> str | None:
    """Tell it to leave, as `evict`; None once it is out and its memory back, else why it is not, in words."""
    since = None if even_pinned else seen_at - timedelta(seconds=model.idle_seconds) + ROUNDING
    try:
        gone = unload(model.resident_id, reason=reason, unless_used_since=since)
    except HotdeskError as error:
        log_event("not_evicted", tier=model.line, level=logging.WARNING, model=model.model, why=error.happened)
        return f"could not evict {named(model)}: {error.happened}"
    return None if gone else f"kept {named(model)}: used again, pinned, or its memory is not back yet"


def named(model: Held) -> str:
    """A model as people know it."""
    return f"{model.model} at {model.context_tokens} tokens ({model.memory_mib:.0f} MiB)"


def measured(memory_name: str, before_mib: float | None, after_mib: float | None) -> str:
    """What an act did to a memory; '' where nobody can say."""
    if before_mib is None or after_mib is None:
        return ""
    return f"; {memory_name} free {before_mib:.0f} -> {after_mib:.0f} MiB"
