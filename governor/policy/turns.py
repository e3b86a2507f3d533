"""What a waiter does now: one pure step from what it sees of its line.

Every waiter runs the same rules; the transaction that carries a step out checks its premise again, so
two that decide the same at once do no harm. How a step is made is left to `governor.turn`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from governor.policy.ordering import Choice

# An offer is accepted within 10 ms (measured p50); past this the heir sleeps and the next one gets it.
OFFER_SECONDS = 0.25
# A head that was rung and has not claimed a free slot for so long is asleep; a new process needs some time.
CLAIM_SECONDS = 1.0
# A claim is one check and one increment, each bounded at 10 s, and the look for a lost answer.
ASKING_SECONDS = 60.0
# SIGTERM, then SIGKILL: Prefect's runner gives a flow about as long to clean up.
GRACE_SECONDS = 10.0
# A release takes 9 ms, 10 s at most: past this the releaser is stopped, and another one releases again.
RELEASING_SECONDS = 30.0
# The head and its successor look often, in case a ring was lost; the rest rarely, and less the deeper.
HEAD_LOOK_SECONDS = 0.25
LOOK_SECONDS_PER_PLACE = 0.5
MOST_LOOK_SECONDS = 10.0
# A wait never ends exactly at its deadline: look just after it.
SETTLE_SECONDS = 0.005


class Act(StrEnum):
    """The steps. `index` of a Step is the slot that each is about."""

    GONE = "gone"  # not in line any more: reaped or told to leave
    STIR = "stir"  # awake again after an offer went by
    ACCEPT = "accept"  # an offer is ours
    ASK = "ask"  # a slot is free and it is our turn
    PASS_ON = "pass_on"  # an offer was not accepted in time, or its heir died
    ROUSE = "rouse"  # those ahead leave a free slot alone: they are asleep
    REAP = "reap"  # its process is dead, or stopped in the middle of a release
    REVOKE = "revoke"  # its holder is past its budget: bump the fence, SIGTERM
    KILL = "kill"  # and past the grace: SIGKILL
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class SlotFact:
    """One slot. `dead`: its process is proven dead. `age_seconds`: since its last change of state."""

    index: int
    state: str
    ticket_id: int | None = None
    dead: bool = False
    age_seconds: float = 0.0
    budget_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Me:
    """The ticket that decides. `place` counts the living, 1 for the head, 0 when not in line; `rank` only those awake.

    `next_age_seconds` is the age of the ticket that is next up.
    """

    ticket_id: int
    place: int
    rank: int = 1
    asleep: bool = False
    next_age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """What to do, about which slot, and for WAIT how long at most."""

    act: Act
    index: int = -1
    seconds: float = 0.0


def next_step(me: Me, slots: Sequence[SlotFact], next_up: Choice | None) -> Step:
    """The most urgent thing that this waiter can do for itself or for the line."""
    if me.place == 0:
        return Step(Act.GONE)
    for slot in slots:
        if slot.state == "offered" and slot.ticket_id == me.ticket_id:
            return Step(Act.ACCEPT, slot.index)
    if me.asleep:
        return Step(Act.STIR)
    for slot in slots:
        # Who cannot be killed (a hung driver, another user's process) is not tried by the whole line.
        if (act := _housekeeping(slot)) is not None and (act is not Act.KILL or me.rank <= 2):
            return Step(act, slot.index)
    free = next((slot for slot in slots if slot.state == "free"), None)
    if free is not None and next_up is not None:
        if next_up.ticket_id == me.ticket_id:
            return Step(Act.ASK, free.index)
        if min(free.age_seconds, me.next_age_seconds) > CLAIM_SECONDS:
            return Step(Act.ROUSE, free.index)
    return Step(Act.WAIT, seconds=_look_again_in(me, slots))


def _housekeeping(slot: SlotFact) -> Act | None:
    """What any waiter does for the line when it sees it."""
    if slot.state == "offered":
        return Act.PASS_ON if slot.dead or slot.age_seconds > OFFER_SECONDS else None
    if slot.state == "free":
        return None
    if slot.dead or (slot.state == "releasing" and slot.age_seconds > RELEASING_SECONDS):
        return Act.REAP
    over = slot.age_seconds - slot.budget_seconds
    if slot.state in ("held", "asking") and over > 0:
        return Act.REVOKE
    if slot.state == "revoked" and slot.age_seconds > GRACE_SECONDS:
        return Act.KILL
    return None


def _look_again_in(me: Me, slots: Sequence[SlotFact]) -> float:
    """Until something may be due, at most as long as the place allows."""
    look = HEAD_LOOK_SECONDS if me.rank <= 2 else min(MOST_LOOK_SECONDS, LOOK_SECONDS_PER_PLACE * me.rank)
    ends = [_ends_in(slot) for slot in slots]
    if me.rank > 2:  # the two at the head see to what ends; the rest see to them, rarely
        return look
    return max(SETTLE_SECONDS, min([look, *(e + SETTLE_SECONDS for e in ends if e is not None)]))


def _ends_in(slot: SlotFact) -> float | None:
    match slot.state:
        case "offered":
            return OFFER_SECONDS - slot.age_seconds
        case "held" | "asking":
            return slot.budget_seconds - slot.age_seconds
        case "revoked":
            return GRACE_SECONDS - slot.age_seconds
        case "releasing":
            return RELEASING_SECONDS - slot.age_seconds
        case _:
            return None
