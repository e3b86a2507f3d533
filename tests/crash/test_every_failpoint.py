"""kill -9 at every named failpoint: the next one sits down at once, and nothing is left behind.

The names are read from the source, so a new failpoint has no scene and fails here. Each scene is a small play on a line
of its own, with real processes and the real server; the victim kills itself at the point and at no other place. How
long the next one may take is stated beside what it waits for.
"""

import re
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import governor
from governor import pauses
from governor.giving_back import AGAIN_SECONDS
from governor.policy.turns import CLAIM_SECONDS, GRACE_SECONDS
from tests.crash.actor import LEASE_ENDS_SECONDS, SOON_SECONDS, START_SECONDS, Actor, until
from tests.crash.conftest import Stages
from tests.crash.stage import Stage

SOURCES = sorted(Path(governor.__file__).parent.rglob("*.py"))
STEPS = ("begin", "commit", "done")
ROUNDS = 20
# They have their scenes in `test_memory_failpoints`, `test_governor_failpoints` and `test_ledger_processes`.
LEDGER = ("reserve.", "settle.", "give_back.", "prune_uses.", "prune_decisions.", "tier_state.")
ELSEWHERE = ("memory.", "governor.", "pause.", "resume.", "revoke_now.", *LEDGER)


def failpoints_in_the_source() -> list[str]:
    text = "\n".join(path.read_text() for path in SOURCES)
    changes = re.findall(r"\.change\(\s*\"([a-z_]+)\"", text)
    named = set(re.findall(r"\bfailpoint\(\s*\"([a-z_.]+)\"", text))
    names = {f"{change}.{step}" for change in changes for step in STEPS} | named
    return sorted(name for name in names if not name.startswith(ELSEWHERE))


def newcomer(stage: Stage, point: str) -> None:
    """Nobody is there; the first one dies on its way in."""
    stage.start("victim", dies_at=point).dies()
    stage.enter("next").sits()


def newcomer_who_buries(stage: Stage, point: str) -> None:
    """One in line is dead, and who comes next dies over its burial."""
    holder = stage.seat("holder")
    stage.line_up("dead").kill()
    stage.start("victim", dies_at=point).dies()
    heir = stage.line_up("next")
    heir.sits(since=holder.rises())


def asker(stage: Stage, point: str) -> None:
    """The head was refused and asks again, twice a second; it dies before the answer. Its heir is refused too."""
    lease_id = stage.stranger()
    victim = stage.line_up("victim", dies_at=point, armed=False)
    heir = stage.line_up("next")
    stage.arm(victim.part.token)
    victim.dies()
    heir.sits(since=stage.give_back(lease_id))


def asker_who_was_answered(stage: Stage, point: str) -> None:
    """The head has got a lease, and dies before that stands in any row: it is found by the ticket's uuid."""
    lease_id = stage.stranger()
    victim = stage.line_up("victim", dies_at=point, with_lease=True)
    heir = stage.line_up("next")
    stage.give_back(lease_id)
    heir.sits(since=victim.dies())


def asker_who_declines(stage: Stage, point: str) -> None:
    """The line is paused before the answer is a seat; who gives it back dies, and is followed when the line opens.

    Once its row says `releasing` its own request may be under way, so the next release waits for 0.5 s.
    """
    victim = stage.enter("victim", stays_at="grant.begin", dies_at=point)
    victim.hear("at", START_SECONDS)
    heir = stage.line_up("next")
    now = datetime.now(UTC)
    pauses.pause([stage.line], by="governor", reason="a game", until=now + timedelta(minutes=5), now=now)
    stage.arm(victim.part.token)
    victim.tell("go on")
    died_s = victim.dies()
    pauses.resume([stage.line], by="governor", now=datetime.now(UTC))
    heir.sits(AGAIN_SECONDS + SOON_SECONDS, since=died_s)


def holder_at_its_card(stage: Stage, point: str) -> None:
    """Whoever waited for the card counts its budget from then on, and dies."""
    victim = stage.seat("victim", dies_at=point)
    heir = stage.line_up("next")
    victim.tell("card")
    heir.sits(since=victim.dies())


def holder_who_rises(stage: Stage, point: str) -> None:
    """The holder dies while it hands the desk on."""
    victim = stage.seat("victim", dies_at=point)
    heir = stage.line_up("next")
    victim.rises()
    heir.sits(since=victim.dies())


def last_one_out(stage: Stage, point: str) -> None:
    """The last one out dies while it releases. It is released again 0.5 s later: two at once free two slots."""
    victim = stage.seat("victim", dies_at=point)
    victim.rises()
    victim.dies()
    stage.enter("next").sits(AGAIN_SECONDS + SOON_SECONDS)


def heir(stage: Stage, point: str) -> None:
    """The heir dies while it accepts the offer."""
    holder = stage.seat("holder")
    victim = stage.line_up("victim", dies_at=point)
    after = stage.line_up("next")
    holder.rises()
    after.sits(since=victim.dies())


def heir_of_a_lost_lease(stage: Stage, point: str) -> None:
    """The server ended the lease that is handed over; the heir dies on its way to another one."""
    holder = stage.seat("holder")
    victim = stage.line_up("victim", dies_at=point)
    after = stage.line_up("next")
    stage.give_back(stage.slot.lease_id or "")
    holder.rises()
    after.sits(since=victim.dies())


def waiter_behind_a_sleeper(stage: Stage, point: str) -> None:
    """An offer is not accepted, and who passes it on dies."""
    holder = stage.seat("holder")
    sleeper = stage.line_up("sleeper")
    sleeper.stop()
    victim = stage.line_up("victim", dies_at=point)
    after = stage.line_up("next")  # third in line, so it does not look for 1.5 s
    holder.rises()
    after.sits(since=victim.dies())


def one_of_two_reapers(stage: Stage, point: str) -> None:
    """The holder is killed; of the two who see it, the first to reach the point dies."""
    holder = stage.seat("holder")
    first = stage.line_up("first", dies_at=point, token="one")
    second = stage.line_up("second", dies_at=point, token="one")
    holder.kill()
    died_s, left = stage.one_dies(first, second)
    left.sits(since=died_s)


def leaver(stage: Stage, point: str) -> None:
    """One in line is cancelled, and is killed before it has left."""
    holder = stage.seat("holder")
    victim = stage.line_up("victim", dies_at=point)
    after = stage.line_up("next")
    victim.send(signal.SIGTERM)
    victim.dies()
    after.sits(since=holder.rises())


def sleeper(stage: Stage, point: str) -> None:
    """One who slept through an offer dies as it wakes."""
    holder = stage.seat("holder")
    victim = stage.line_up("victim", dies_at=point)
    victim.stop()
    heir = stage.line_up("heir")
    heir.sits(since=holder.rises())
    after = stage.line_up("next")
    victim.resume()
    victim.dies()
    after.sits(since=heir.rises())


def one_of_two_who_rouse(stage: Stage, point: str) -> None:
    """The desk is free and the head sleeps; who rings it dies. A second after another ring it counts as asleep."""
    lease_id = stage.stranger()
    head = stage.line_up("head")
    until(lambda: stopped_between_two_asks(stage, head), START_SECONDS, "the head sleeps and the slot is free")
    first = stage.enter("first", dies_at=point, token="one")
    second = stage.enter("second", dies_at=point, token="one")
    stage.give_back(lease_id)
    died_s, left = stage.one_dies(first, second)
    left.sits(CLAIM_SECONDS + SOON_SECONDS, since=died_s)


def stopped_between_two_asks(stage: Stage, head: Actor) -> bool:
    head.stop()
    if head.state == "waiting" and stage.slot.state == "free":
        return True
    head.resume()
    return False


def one_of_two_who_revoke(stage: Stage, point: str) -> None:
    """The holder overstays, and who sees to that dies; the other one tells the holder to end."""
    holder = stage.seat("holder", budget_seconds=1.0)
    first = stage.enter("first", dies_at=point, token="one")
    second = stage.enter("second", dies_at=point, token="one")
    died_s, left = stage.one_dies(first, second)
    left.sits(since=died_s)
    holder.is_ended_by(signal.SIGTERM)


def one_who_revoked(stage: Stage, point: str) -> None:
    """The same, dead before its SIGTERM: nobody repeats that, and after its grace the holder gets SIGKILL.

    Here the holder stands up by itself before, which counts although its fence is an old one; a long test waits.
    """
    holder = stage.seat("holder", budget_seconds=1.0)
    stage.enter("victim", dies_at=point).dies()
    after = stage.enter("next")
    assert not holder.is_seated()
    after.sits(since=max(after.took_s, holder.rises()))


def one_who_reclaims(stage: Stage, point: str) -> None:
    """A dead ticket left its lease at the server; who wants to give it back dies.

    Once it was claimed nobody else may release it, as two at once free two slots: it ends by itself, 75 s at
    most after it was granted. Here the test ends it; a long test waits.
    """
    lease_id = stage.orphan()
    stage.enter("victim", dies_at=point).dies()
    after = stage.enter("next")
    if point in ("reclaim.begin", "reclaim.commit"):
        after.sits()
    else:
        after.sits(since=stage.give_back(lease_id))


Scene = Callable[[Stage, str], None]
SCENES: dict[str, Scene] = {
    "ensure": newcomer,
    "take": newcomer,
    "bury": newcomer_who_buries,
    "ask": asker,
    "asking.sending": asker,
    "asking.answered": asker_who_was_answered,
    "grant": asker_who_was_answered,
    "withdraw": asker,
    "decline": asker_who_declines,
    "start_budget": holder_at_its_card,
    "renewal": holder_who_rises,
    "hand_over": holder_who_rises,
    "release": last_one_out,
    "accept": heir,
    "renew": heir,
    "ask_again": heir_of_a_lost_lease,
    "pass_on": waiter_behind_a_sleeper,
    "reap": one_of_two_reapers,
    "leave": leaver,
    "stir": sleeper,
    "rouse": one_of_two_who_rouse,
    "revoke": one_of_two_who_revoke,
    "revoke.done": one_who_revoked,
    "reclaim": one_who_reclaims,
}


def key_of(point: str) -> str:
    """A point has a scene of its own or shares that of its transaction."""
    return point if point in SCENES else point.partition(".")[0]


def test_every_failpoint_has_a_scene_and_every_scene_a_failpoint():
    assert {key_of(point) for point in failpoints_in_the_source()} == set(SCENES)


@pytest.mark.parametrize("point", failpoints_in_the_source())
def test_whoever_dies_there_is_followed_by_the_next(point: str, stages: Stages):
    stage = stages(f"gpu:{point.replace('_', '-')}:0")
    SCENES[key_of(point)](stage, point)
    stage.comes_to_rest()


@pytest.mark.parametrize("seconds", [0.001, 0.004, 0.007, 0.01, 0.015, 0.02])
def test_whoever_dies_while_its_question_is_under_way_is_followed_by_the_next(seconds: float, stages: Stages):
    stage = stages(f"gpu:under-way:{1000 * seconds:.0f}")
    lease_id = stage.stranger()
    victim = stage.line_up("victim", dies_at="asking.sending", armed=False, dies_after_seconds=seconds)
    heir = stage.line_up("next")
    stage.arm(victim.part.token)
    free_s = stage.give_back(lease_id)
    heir.sits(since=max(free_s, victim.dies()))
    stage.comes_to_rest()


@pytest.mark.long
def test_a_holder_that_nobody_told_to_end_is_killed_after_its_grace(stages: Stages):
    stage = stages("gpu:untold:0")
    holder = stage.seat("holder", budget_seconds=1.0)
    died_s = stage.enter("victim", dies_at="revoke.done").dies()
    stage.enter("next").sits(GRACE_SECONDS + SOON_SECONDS, since=died_s)
    holder.is_ended_by(signal.SIGKILL)
    stage.comes_to_rest()


@pytest.mark.long
def test_a_lease_whose_reclaimer_died_ends_by_itself(stages: Stages):
    stage = stages("gpu:reclaimed:0")
    stage.orphan()
    granted_s = time.monotonic()
    stage.enter("victim", dies_at="reclaim.claimed").dies()
    stage.enter("next", patience_seconds=120.0).sits(LEASE_ENDS_SECONDS + SOON_SECONDS, since=granted_s)
    stage.comes_to_rest()


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("point", failpoints_in_the_source())
def test_twenty_deaths_there_are_followed_twenty_times(point: str, stages: Stages):
    for number in range(1, ROUNDS):
        stage = stages(f"gpu:{point.replace('_', '-')}:{number}")
        SCENES[key_of(point)](stage, point)
        stage.comes_to_rest()
