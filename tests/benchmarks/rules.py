"""The rules of eviction that are compared: ours, by the production functions, and those of other tools."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from governor.policy.eviction import choose
from governor.policy.facts import Held, Use
from governor.policy.forecast import coming
from governor.policy.trust import Trust, observe, trusts_schedule
from tests.benchmarks.days import DAY_SECONDS, MINUTE, NEVER, Day, Seat
from tests.benchmarks.replay import Memory, Rule

MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)
# What the schedule is asked for at each load: what is due within half a day, or was lately and did not come.
AHEAD_SECONDS, BEHIND_SECONDS = DAY_SECONDS / 2, 60 * MINUTE


def _first(order: Sequence[str], seat: Seat, memory: Memory) -> list[str]:
    """In this order until the newcomer fits."""
    leaving, short_mib = [], memory.short_mib(seat.model)
    for model in order:
        if short_mib > 0:
            leaving.append(model)
            short_mib -= memory.sizes[model].mib
    return leaving


def _longest_idle(memory: Memory) -> list[str]:
    return sorted(memory.used_s, key=lambda model: memory.used_s[model])


class LongestIdle(Rule):
    """LRU by bytes: the least recently used leave until the newcomer fits."""

    def leaving(self, seat: Seat, memory: Memory, day: Day) -> Sequence[str]:
        """See Rule."""
        return _first(_longest_idle(memory), seat, memory)


class LongestIdleByCount(Rule):
    """LRU by count, as llama-server's router: as many models as fit whichever they are, the largest ones too."""

    def leaving(self, seat: Seat, memory: Memory, day: Day) -> Sequence[str]:
        """See Rule."""
        largest = sorted((memory.sizes[model].mib for model in set(day.models)), reverse=True)
        most = sum(sum(largest[: place + 1]) <= memory.room_mib for place in range(len(largest)))
        return _longest_idle(memory)[: max(0, len(memory.used_s) + 1 - most)]


class ShortestKeepAlive(Rule):
    """Ollama's: the shortest keep-alive first, of equal ones (these all are) the first by name."""

    def __init__(self, keep_alive_seconds: float = NEVER) -> None:
        self.keep_alive_seconds = keep_alive_seconds

    def leaving(self, seat: Seat, memory: Memory, day: Day) -> Sequence[str]:
        """See Rule."""
        return _first(sorted(memory.used_s), seat, memory)


class Ours(Rule):
    """`eviction.choose` on `forecast.coming`, and the schedule believed as `trust` says, or always."""

    def __init__(self, *, always: bool = False) -> None:
        self.always, self.trust = always, Trust()
        self.choose_ms: list[float] = []

    def leaving(self, seat: Seat, memory: Memory, day: Day) -> Sequence[str]:
        """See Rule."""
        inside = _held(memory, seat.begins_s)
        uses = _schedule(seat, day) if self.always or trusts_schedule(self.trust) else []
        ahead = coming(uses, seat.waiting, _at(seat.begins_s))
        began_s = time.perf_counter()
        ids = choose(
            inside,
            shortfall_mib=memory.short_mib(seat.model),
            coming=ahead,
            newcomer=seat.model,
            sizes=memory.sizes,
        )
        self.choose_ms.append(1000 * (time.perf_counter() - began_s))
        assert ids is not None
        return [h.model for h in inside if h.resident_id in ids]

    def seated(self, seat: Seat, day: Day) -> None:
        """See Rule."""
        ahead = coming(_schedule(seat, day), seat.waiting, _at(seat.begins_s))
        self.trust = observe(self.trust, seat.model, waiting=seat.waiting, coming=ahead)


def _at(seconds: float) -> datetime:
    return MIDNIGHT + timedelta(seconds=seconds)


def _schedule(seat: Seat, day: Day) -> list[Use]:
    """What the schedule says when the seat begins, of models that have no ticket yet."""
    return [
        Use(model=word.model, at=_at(word.at_s))
        for word in day.foretold
        if word.ticket_s > seat.begins_s and -BEHIND_SECONDS <= word.at_s - seat.begins_s <= AHEAD_SECONDS
    ]


def _held(memory: Memory, now_s: float) -> list[Held]:
    return [
        Held(
            resident_id=number,
            engine="replayed",
            model=model,
            context_tokens=4096,
            line="gpu",
            memory_mib=memory.sizes[model].mib,
            idle_seconds=now_s - used_s,
            age_seconds=now_s - memory.since_s[model],
            busy=False,
            load_seconds=memory.sizes[model].load_seconds,
        )
        for number, (model, used_s) in enumerate(memory.used_s.items())
    ]
