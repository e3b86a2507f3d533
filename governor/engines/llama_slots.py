"""What llama.cpp's server says of a model at work: its engine slots, and who waits for one.

Read in what it answered (llama.cpp b11549) and in its source (tools/server/server-context.cpp). Nothing here loads
or wakes a model. Which process to ask is the engine's to say.
"""

from dataclasses import replace
from typing import Any

from governor.engines.protocol import Usage
from governor.engines.wire import ASK_SECONDS, Wire, WireError

# A gauge of `/metrics`: requests that found every engine slot at work.
DEFERRED = "llamacpp:requests_deferred "


def slots(wire: Wire) -> Usage | None:
    """Its engine slots, by one request; None when there is no answer to use."""
    found: Any = wire.found("/slots")
    try:
        working = [slot for slot in found if slot["is_processing"]]
        return Usage(len(found), len(working), int(found[0]["n_ctx"]), _filled(working))
    except (TypeError, KeyError, IndexError, ValueError):
        return None


def usage(wire: Wire) -> Usage | None:
    """The same with the requests that wait for a slot, by a second request."""
    found = slots(wire)
    return replace(found, deferred=_deferred(wire)) if found else None


def _filled(working: list[dict[str, Any]]) -> int | None:
    """Tokens in the fullest context at work. What an idle slot keeps of its last request makes room for the next.

    `n_prompt_tokens` is all that stands in the context, what was generated so far included (86 were 39 of the prompt
    and 47 generated).
    """
    tokens = [slot.get("n_prompt_tokens") for slot in working]
    known = [count for count in tokens if isinstance(count, int)]
    return max(known, default=0) if len(known) == len(tokens) else None


def _deferred(wire: Wire) -> int | None:
    try:
        text = wire.watched("GET", "/metrics", seconds=ASK_SECONDS, plain=True)
        return next(int(float(line.split()[1])) for line in text.splitlines() if line.startswith(DEFERRED))
    except (WireError, StopIteration, IndexError, ValueError):
        return None
