"""The governor at work: look, assess, plan, act, write down. The flow `govern` and every sentinel run the same.

What pressure is and what follows from it is pure (`policy.pressure`, `policy.escalation`); what single acts do stands
in `governor.actions`. Where the ladder stands is one row that all who look share: it moves by compare-and-set, so that
two who see the same trouble do one thing about it.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from governor.actions import pause_line, terminate, unload
from governor.actions.unload import Done
from governor.events import log_event
from governor.failpoints import failpoint
from governor.forecasting import next_uses
from governor.looking import Senses
from governor.memory import memory
from governor.policy.escalation import plan
from governor.policy.facts import Held, Level, Reading, Rung
from governor.policy.ladder import Move, Scene, Standing
from governor.policy.pressure import Assessment, Mark, assess, next_look_seconds
from governor.policy.rules import Rules
from governor.resident_rows import held
from governor.rung_events import announce_rung
from governor.standing import keep, recalled
from governor.state.models import GovernorTick
from governor.state.sessions import reading, transaction
from governor.unloading import close_late

# Between two looks: a 6 GB card fills in 0.35 to 1.3 s (measured), so a tenth of a second while something fills;
# 2 s while all is calm cost a seat 0.2% of a core.
LEAST_LOOK_SECONDS, MOST_LOOK_SECONDS = 0.1, 2.0


@dataclass
class Watch:
    """One who looks, and what it saw before.

    Attributes:
        by: `govern`, `sentinel` or `up`. senses: what it looks with. glances: what can fill up between two looks.
        rules: the operator's. seen: after the last look. close: lets go of what it looks with.
    """

    by: str
    senses: Senses
    glances: Callable[[float], list[Reading]] | None = None
    rules: Rules = field(default_factory=Rules)
    seen: Assessment = field(default_factory=Assessment)
    close: Callable[[], None] = lambda: None

    def look(self, *, now: datetime, clock_s: float, costly: bool = False) -> GovernorTick:
        """Look once, move at most one rung, do at most one act; the record, which is not written yet.

        A dry run moves nothing and tells no engine anything: it says what it would do.
        """
        readings = self.senses(now, clock_s, costly)
        self._assess(readings, now, clock_s)
        return self._conclude(readings, now)

    def glance(self, *, now: datetime, clock_s: float) -> GovernorTick | None:
        """Look at what can fill up suddenly; like a look when that is bad or fills fast, else None."""
        readings = self.glances(clock_s) if self.glances is not None else []
        if not readings:
            return None
        before = self.seen.levels
        self._assess(readings, now, clock_s)
        named = {one.name: self.seen.resources[one.name] for one in readings if one.name in self.seen.resources}
        fills = any(r.seconds_left < MOST_LOOK_SECONDS for r in named.values())
        newly_high = any(r.level is Level.HIGH and before.get(name) is not Level.HIGH for name, r in named.items())
        alarming = fills or newly_high
        return self._conclude(readings, now, glanced=True) if alarming else None

    def _conclude(self, readings: list[Reading], now: datetime, *, glanced: bool = False) -> GovernorTick:
        before, move, inside = self._decide(now, {r.name for r in readings} if glanced else None)
        record = GovernorTick(
            at=now,
            rung=(before if self.rules.dry_run else move.standing).rung.value,
            pressure=self.seen.worst.value,
            dry_run=self.rules.dry_run,
            readings={r.name: _plain(r) for r in readings},
            actions=_would(before, move, inside) if self.rules.dry_run else _moved(before, move),
            reason=move.reason,
            by=self.by,
        )
        if not self.rules.dry_run:
            record.actions = [*record.actions, *self._act(move, inside, now)]
            if move.changed:
                log_event("rung", tier=record.rung, level=_loudness(move.rung), by=self.by, why=move.reason)
                announce_rung(record)
        return record

    @property
    def settled(self) -> bool:
        """Whether nothing is bad, getting bad or not calm yet."""
        return not any(r.streak for r in self.seen.resources.values())

    @property
    def look_again_seconds(self) -> float:
        """When the next look is due."""
        return next_look_seconds(self.seen, least=LEAST_LOOK_SECONDS, most=MOST_LOOK_SECONDS)

    def _assess(self, readings: list[Reading], now: datetime, clock_s: float) -> None:
        """What was not looked at this time stays as it was."""
        looked_at = {r.name for r in readings}
        marks = [mark for mark in self.rules.marks if mark.reading in looked_at]
        fresh = assess(readings, marks, self.seen, at_s=clock_s, night=self.rules.hours.is_night(now))
        known = {mark.reading for mark in self.rules.marks}
        kept = {name: was for name, was in self.seen.resources.items() if name in known}
        self.seen = Assessment(resources={**kept, **fresh.resources})

    def _decide(self, now: datetime, glanced: set[str] | None) -> tuple[Standing, Move, tuple[Held, ...]]:
        """Plan on what is known; a step is kept in the transaction that read where the ladder stood.

        A glance plans on what it saw alone: the rest is as old as the last look.
        """
        with reading() as session:
            planned = self._plan(session, now, glanced)
        before, move, _ = planned
        if move.standing == before or self.rules.dry_run:
            return planned
        with transaction() as session:
            planned = self._plan(session, now, glanced)
            keep(session, planned[1].standing)
        return planned

    def _plan(
        self, session: Session, now: datetime, glanced: set[str] | None
    ) -> tuple[Standing, Move, tuple[Held, ...]]:
        before = recalled(session)
        inside = tuple(held(session, now=now))
        away: dict[str, float] = {}
        if self.seen.worst is not Level.CALM:
            away = {model: max(0.0, (at - now).total_seconds()) for model, at in next_uses(session, now=now).items()}
        ahead_seconds = LEAST_LOOK_SECONDS if self.glances is not None else self.look_again_seconds
        scene = Scene(held=inside, away_seconds=away, now=now, ahead_seconds=ahead_seconds)
        marks = [mark for mark in self.rules.marks if glanced is None or mark.reading in glanced]
        return before, plan(_of(self.seen, marks), before, marks, scene, self.rules.cooldown), inside

    def _act(self, move: Move, inside: tuple[Held, ...], now: datetime) -> list[str]:
        """Do what the move names, then have the lines follow the rung. What freed nothing names the next at once."""
        close_late()
        failpoint("governor.decided")
        done = _one_act(move, inside, now, self.rules)
        if done is not None and not done.freed:
            _forget_act(move.standing)
        failpoint("governor.acted")
        said = [done.said] if done is not None else []
        why = f"pressure on {', '.join(move.standing.causes)}"
        return said + pause_line.follow(move.standing, self._seen_bad(move.standing), why, now=now)

    def _seen_bad(self, stands: Standing) -> set[str]:
        """The memories in which what led up is seen now, and is not calm."""
        marks = {mark.reading: mark for mark in self.rules.marks}
        bad = (Level.HIGH, Level.EASING)
        names = [n for n in stands.causes if n in marks and self.seen.levels.get(n) in bad]
        return {memory for n in names for memory in ([marks[n].memory] if marks[n].memory else stands.reached)}


def _of(seen: Assessment, marks: Sequence[Mark]) -> Assessment:
    """What was seen of these alone."""
    names = {mark.reading for mark in marks}
    return Assessment(resources={name: r for name, r in seen.resources.items() if name in names})


def _one_act(move: Move, inside: tuple[Held, ...], now: datetime, rules: Rules) -> Done | None:
    wanted = move.evict if move.terminate is None else move.terminate
    if wanted is None:
        return None
    model = next(h for h in inside if h.resident_id == wanted)
    if not move.urgent and _is_better(move, rules, now):
        return Done(f"left {unload.named(model)} alone: it was better when looked at again", freed=False)
    try:
        if move.terminate is not None:
            return terminate.terminate(wanted, move.reason)
        return unload.evict(model, move.reason, seen_at=now, even_pinned=move.rung is Rung.FORCE_EVICT)
    except SQLAlchemyError as error:  # locked or full: what was begun is finished by the next look
        return Done(f"could not act on {unload.named(model)}: {type(error).__name__}", freed=False)


def _is_better(move: Move, rules: Rules, now: datetime) -> bool:
    """Whether all that the act is for can be read again in microseconds, and is past its mark no more."""
    night = rules.hours.is_night(now)
    again = [_still_high(mark, night) for mark in rules.marks if mark.reading in move.causes]
    return bool(again) and not any(again)


def _still_high(mark: Mark, night: bool) -> bool:
    if mark.reading != "vram_free_mib":
        return True
    free_mib = memory("vram").free_mib()
    return free_mib is not None and free_mib <= mark.band(night=night).high


def _forget_act(after: Standing) -> None:
    """Nothing was freed: the next look need not wait for it to show."""
    with suppress(SQLAlchemyError), transaction() as session:
        if recalled(session) == after:
            keep(session, after.model_copy(update={"moved_at": None, "acted": {}}))


def _moved(before: Standing, move: Move, verb: str = "moved") -> list[str]:
    """The step in words, in one memory or of the ladder as a whole."""
    if not move.changed:
        return []
    if not move.memory:
        return [f"{verb} from {before.rung} to {move.rung}"]
    here, there = before.stands_at(move.memory), move.standing.stands_at(move.memory)
    return [f"{verb} from {here} to {there} for {move.memory}"]


def _would(before: Standing, move: Move, inside: tuple[Held, ...]) -> list[str]:
    said = _moved(before, move, "would move")
    for verb, wanted in (("evict", move.evict), ("end", move.terminate)):
        said += [f"would {verb} {unload.named(h)}" for h in inside if h.resident_id == wanted]
    return said


def _plain(reading_: Reading) -> Any:
    """A reading as it is kept: the number, or why there is none."""
    return reading_.value if reading_.value is not None else f"unknown: {reading_.why}"


def _loudness(rung: Rung) -> int:
    return logging.WARNING if rung in (Rung.PAUSE_LINE, Rung.FORCE_EVICT) else logging.INFO
