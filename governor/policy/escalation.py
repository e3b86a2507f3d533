"""From pressure to an act: the ladder `normal -> trim -> evict idle -> pause the line -> force-evict`. Pure.

One rung at a time, up and down, and one act a cooldown; each is measured before the next is decided. Only the last
rung touches who sits at a desk. A rung is reached in a memory, and what it does it does there. The one shortcut is for
a memory that will be full before the next look: then what frees memory is done at once. Who is ended is
`policy.victims`; who measures, claims and acts is `governor.governing`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from governor.policy.facts import Held, Level, Rung
from governor.policy.ladder import LADDER, Cooldown, Move, Scene, Standing
from governor.policy.pressure import Assessment, Mark, Resource
from governor.policy.victims import next_to_force, next_victim

# From the decision to the memory: an unload takes 0.10 to 0.32 s (measured), a killed process 0.14 s.
ACT_SECONDS = 0.35


class _Look(NamedTuple):
    seen: Assessment
    marks: Mapping[str, Mark]
    scene: Scene
    cooldown: Cooldown
    standing: Standing


class _Trouble(NamedTuple):
    """What is bad in one memory, and who could help by leaving it."""

    memory: str
    causes: tuple[str, ...]
    held: tuple[Held, ...]


def plan(
    seen: Assessment, standing: Standing, marks: Sequence[Mark], scene: Scene, cooldown: Cooldown | None = None
) -> Move:
    """One rung or one act at most; none on unknown."""
    look = _Look(seen, {mark.reading: mark for mark in marks}, scene, cooldown or Cooldown(), standing)
    urgent = _urgent(look)
    at_once = _at_once(urgent, look) if urgent is not None else None
    if at_once is not None:
        return at_once
    causes = [name for name in seen.resources if _is_cause(name, look)]
    troubles = _troubles(causes, look)
    if not troubles:
        return _relax(look)
    moves = [_press(trouble, look) for trouble in troubles]
    does = [move for move in moves if move.changed or move.evict is not None or move.terminate is not None]
    if does:
        return does[0]
    # Where a memory stands higher than what is bad in it may lead, it comes down although something is bad.
    return moves[0] if _top(look, causes) >= LADDER.index(standing.rung) else _relax(look, causes)


def _is_cause(name: str, look: _Look) -> bool:
    """Whether it is high; an event that an act has answered is no cause any more."""
    resource, moved_at = look.seen.resources[name], look.standing.moved_at
    if name not in look.marks or resource.level is not Level.HIGH:
        return False
    answered = LADDER.index(look.standing.rung) >= LADDER.index(Rung.EVICT_IDLE)  # trim alone frees nothing
    return not (answered and resource.event_at and moved_at and resource.event_at < moved_at)


def _leads_to(name: str, look: _Look) -> Rung:
    """How far it may lead now: beyond idle models only where it is firm."""
    mark, resource = look.marks[name], look.seen.resources[name]
    firm = mark.firm is None or resource.firm_streak >= mark.persistence
    others = [look.seen.resources[other] for other in mark.firm_with if other in look.seen.resources]
    if firm and (not mark.firm_with or any(other.level is Level.HIGH for other in others)):
        return mark.most
    return min(mark.most, Rung.EVICT_IDLE, key=LADDER.index)


def _top(look: _Look, causes: Sequence[str]) -> int:
    return max((LADDER.index(_leads_to(name, look)) for name in causes), default=0)


def _troubles(causes: Sequence[str], look: _Look) -> list[_Trouble]:
    """By memory, where the ladder is lowest first."""
    memories = {look.marks[name].memory for name in causes} - {""}
    if any(not look.marks[name].memory for name in causes):
        memories |= {h.memory for h in look.scene.held}
    found = [_trouble(memory, causes, look) for memory in memories]
    return sorted(found, key=lambda t: (LADDER.index(look.standing.stands_at(t.memory)), t.memory))


def _trouble(memory: str, causes: Sequence[str], look: _Look) -> _Trouble:
    mine = tuple(name for name in causes if look.marks[name].memory in (memory, ""))
    held = tuple(h for h in look.scene.held if h.memory == memory)
    if all(look.marks[name].of_model for name in mine):  # nobody else's leaving would help
        named = {look.seen.resources[name].about for name in mine}
        held = tuple(h for h in held if h.model in named)
    return _Trouble(memory, mine, held)


def _press(trouble: _Trouble, look: _Look) -> Move:
    """Under pressure: the next act of the rung in this memory, else its next rung, if the last act had time to show."""
    scene, at = look.scene, LADDER.index(look.standing.stands_at(trouble.memory))
    why, evict_idle = f"pressure on {_named(trouble.causes, look.seen)}", LADDER.index(Rung.EVICT_IDLE)
    shows = min(look.marks[name].shows_after_seconds for name in trouble.causes)
    freed = at >= evict_idle  # what trim does, no reading shows at once
    acted_at = look.standing.acted.get(trouble.memory)
    wait = _wait_seconds(acted_at, scene.now, max(look.cooldown.up_seconds, shows if freed else 0.0))
    if wait > 0:
        return _stay(look.standing, f"{why}; what was done has {wait:.0f} s more to show")
    about = next((r.about for name in trouble.causes if (r := look.seen.resources[name]).about), "")
    victim = next_victim(trouble.held, first=about, away_seconds=scene.away_seconds)
    top = _top(look, trouble.causes)
    if victim is not None and at >= evict_idle and top >= evict_idle:
        return _act(look, LADDER[at], trouble, why, evict=victim.resident_id)
    rung = LADDER[min(at + 1, len(LADDER) - 1)]
    if LADDER.index(rung) > top:
        return _stay(look.standing, f"still {why}; it leads no further than {LADDER[top]}")
    firm = tuple(name for name in trouble.causes if LADDER.index(_leads_to(name, look)) >= LADDER.index(rung))
    trouble = trouble._replace(causes=firm)
    if rung is Rung.FORCE_EVICT:
        return _force(look, trouble, why)
    leaves = victim.resident_id if victim is not None and rung is Rung.EVICT_IDLE else None
    return _act(look, rung, trouble, why, evict=leaves)


def _force(look: _Look, trouble: _Trouble, why: str, *, urgent: bool = False) -> Move:
    forced = next_to_force(trouble.held)
    if forced is None:
        return _stay(look.standing, f"still {why}, and nothing of ours is left to end")
    which = {"terminate": forced.resident_id} if forced.busy else {"evict": forced.resident_id}
    return _act(look, Rung.FORCE_EVICT, trouble, why, urgent=urgent, **which)


def _at_once(name: str, look: _Look) -> Move | None:
    """What frees memory now. Who sits is ended only once the reading itself is past its mark; None: nothing can.

    Nothing while a model of ours is on its way in or out: then what fills or empties the memory may be that.
    """
    resource, mark = look.seen.resources[name], look.marks[name]
    trouble = _trouble(mark.memory, [name], look)
    if any(not h.settled for h in trouble.held) or LADDER.index(mark.most) < LADDER.index(Rung.EVICT_IDLE):
        return None
    why = f"{name} will be at its end in {resource.seconds_left:.1f} s"
    victim = next_victim(trouble.held, away_seconds=look.scene.away_seconds)
    if victim is not None:
        rung = max(look.standing.stands_at(mark.memory), Rung.EVICT_IDLE, key=LADDER.index)
        return _act(look, rung, trouble, why, evict=victim.resident_id, urgent=True)
    if resource.streak == 0 or mark.most is not Rung.FORCE_EVICT or next_to_force(trouble.held) is None:
        return None
    return _force(look, trouble, why, urgent=True)


def _urgent(look: _Look) -> str | None:
    """The resource that will be at its brim before the next look and an act after it; None when none will.

    Nor while the act before is still on its way: others look too.
    """
    if _wait_seconds(look.standing.moved_at, look.scene.now, ACT_SECONDS) > 0:
        return None
    known = ((r.seconds_left, n) for n, r in look.seen.resources.items() if n in look.marks)
    left, name = min(known, default=(float("inf"), ""))
    return name if left <= look.scene.ahead_seconds + ACT_SECONDS else None


def _relax(look: _Look, causes: Sequence[str] = ()) -> Move:
    """One rung down, if what led up was seen to be better for long enough.

    What eases opens the line, and no more: models that left stay out until it is calm.
    """
    standing, seen = look.standing, look.seen
    known = _what_led_up(look)
    if seen.unresolved or seen.worst is Level.UNKNOWN or any(r is None or r.level is Level.UNKNOWN for r in known):
        return _stay(standing, "what led here cannot be read; unknown moves nothing")
    bad = [name for name in seen.resources if seen.resources[name].is_bad and _matters(name, look)]
    calm = not bad and seen.worst in (Level.CALM, Level.HIGH) and all(r is not None and r.calm for r in known)
    calm = calm and not any(r.level is Level.EASING for r in seen.resources.values())
    lowest = max(_top(look, causes), 0 if calm and not causes else LADDER.index(Rung.EVICT_IDLE))
    at = LADDER.index(standing.rung)
    rising = any(name not in causes for name in bad)
    if rising or at <= lowest:
        better = "calm" if calm else "better, not calm yet"
        return _stay(standing, "something may be on its way up" if rising else better)
    waits = [_wait_seconds(standing.moved_at, look.scene.now, look.cooldown.down_seconds)]
    waits += [_better_in(r, look.cooldown.down_seconds) for r in known if r is not None and r.level is not Level.HIGH]
    if max(waits) > 0:
        return _stay(standing, f"{'calm again' if calm else 'better'}; {max(waits):.0f} s more before a step down")
    after = Standing(moved_at=look.scene.now)
    if at > 1:
        after = standing.model_copy(update={"rung": LADDER[at - 1], "moved_at": look.scene.now})
    return Move(standing=after, reason="calm again" if calm else "better", changed=True)


def _matters(name: str, look: _Look) -> bool:
    """Whether a bad resource keeps the ladder up: not an event that was answered."""
    return look.seen.resources[name].level is not Level.HIGH or _is_cause(name, look)


def _what_led_up(look: _Look) -> list[Resource | None]:
    """The readings that led up, as they are now; without those about a model that is in memory no more."""
    inside = {h.model for h in look.scene.held}
    return [
        look.seen.resources.get(name)
        for name, about in look.standing.causes.items()
        if name in look.marks and not (look.marks[name].of_model and about and about not in inside)
    ]


def _better_in(resource: Resource, seconds: float) -> float:
    """How long until it has been better for so long."""
    if resource.at_s is None or resource.better_since_s is None:
        return 0.0
    return max(0.0, seconds - (resource.at_s - resource.better_since_s))


def _named(causes: Sequence[str], seen: Assessment) -> str:
    about = (seen.resources[name].about for name in causes)
    return ", ".join(f"{name} ({of})" if of else name for name, of in zip(causes, about, strict=True))


def _wait_seconds(since: datetime | None, now: datetime, seconds: float) -> float:
    """How long until `seconds` have passed since then; a clock that was set back waits for nothing."""
    if since is None:
        return 0.0
    passed = now - since
    return 0.0 if passed < timedelta(0) else max(0.0, seconds - passed.total_seconds())


def _stay(standing: Standing, reason: str) -> Move:
    return Move(standing=standing, reason=reason)


def _act(look: _Look, rung: Rung, trouble: _Trouble, why: str, **act: int | bool | None) -> Move:
    """A step, or an act, in one memory."""
    was = look.standing
    causes = {**was.causes, **{name: look.seen.resources[name].about for name in trouble.causes}}
    here = max(rung, was.stands_at(trouble.memory), key=LADDER.index)
    reached = {**{m: was.stands_at(m) for m in was.reached}, trouble.memory: here}
    after = Standing(
        rung=max(was.rung, here, key=LADDER.index),
        moved_at=look.scene.now,
        acted={**was.acted, trouble.memory: look.scene.now},
        reached=reached,
        causes=causes,
    )
    changed = reached != was.reached or after.rung is not was.rung
    return Move.model_validate(
        {
            "standing": after,
            "reason": why,
            "changed": changed,
            "memory": trouble.memory,
            "causes": trouble.causes,
            **act,
        }
    )
