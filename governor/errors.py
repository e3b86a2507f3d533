"""The errors a person can meet: what happened, what it means for their data, what to do next.

One base class and few kinds, each carrying its data as attributes.
"""

from typing import Any


class HotdeskError(Exception):
    """Base of every error raised on purpose.

    Args:
        happened: what went wrong, in one sentence.
        means: what that means for the reader's data; nothing is lost unless it says so.
        remedy: the next step, a command where there is one.
        data: the facts of this case, readable as attributes (`error.data["pid"]`).
    """

    def __init__(self, happened: str, *, remedy: str, means: str = "Nothing was lost.", **data: Any) -> None:
        super().__init__(f"{happened} {means} {remedy}".strip())
        self.happened = happened
        self.means = means
        self.remedy = remedy
        self.data = data


class BadInput(HotdeskError):
    """Something a person wrote or pointed at cannot be used: a file, a key, a parameter."""


class NotReady(HotdeskError):
    """The surroundings are not as they must be: server, limit, database, disk, port, weights."""


class StateUnavailable(NotReady):
    """The state database is locked, full, read-only or failing; the step was not made and may be tried again."""


class ServerSilent(NotReady):
    """The Prefect server did not answer one request; whether it carried it out is unknown."""


class Nested(BadInput):
    """An agent asked for a second seat in a way that would wait for itself. data: `line`, `held`."""


class LeftLine(HotdeskError):
    """The agent waited as long as its patience allows, or would wait in vain, and left the line.

    data: `line`, `ticket`, `waited_seconds`, `place` (1 is the head), `holder` (text or None), `paused` (text, '' when
    the line was open).
    """


class TooLate(HotdeskError):
    """The run started after its window; it does nothing."""


class DoesNotFit(HotdeskError):
    """No model that would serve the request fits this machine now. data: `refusals`."""


class NoRoute(DoesNotFit):
    """No model of this machine could ever serve the request, however empty its memory is. data: `refusals`."""


class TierShut(HotdeskError):
    """A cloud tier is not called now: its allowance is spent, it cools down, or it would cost money. Nothing was sent.

    data: `tier`, `until` (aware datetime or None), `why`.
    """


class Private(BadInput):
    """Words were about to go where their privacy forbids; they went nowhere. data: `tier`, `privacy`."""


class SeatLost(HotdeskError):
    """The fence of this seat is no longer current; a result under it must be discarded.

    data: `line`, `fence`.
    """


class ModelFailed(HotdeskError):
    """The engine or the model gave no usable answer. data: `engine`, `model`, `retryable`."""
