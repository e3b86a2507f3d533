"""A run is cancelled (SIGTERM, raised by Prefect's own handler) wherever it is: nothing is left, the next one sits.

The signal arrives in the main thread while the line's work goes on in another one, so a question that was
sent is answered, written down and undone in order.
"""

import signal

import pytest

from governor.turn import REFUSED_WAIT_SECONDS
from tests.crash.actor import SOON_SECONDS, START_SECONDS
from tests.crash.conftest import Stages


def test_cancelled_while_it_waits(stages: Stages):
    stage = stages("gpu:cancel-waiting:0")
    holder = stage.seat("holder")
    victim, heir = stage.line_up("victim"), stage.line_up("next")
    victim.cancel()
    victim.ends_cancelled("left")
    assert heir.sits(since=holder.rises()) == 2
    stage.comes_to_rest()


@pytest.mark.parametrize("point", ["ask.begin", "ask.done", "asking.sending", "asking.answered", "grant.done"])
def test_cancelled_while_it_asks(point: str, stages: Stages):
    """Its question is answered; it sits for a moment under fence 1, and hands the lease on."""
    stage = stages(f"gpu:cancel-{point.replace('_', '-')}:0")
    victim = stage.enter("victim", stays_at=point)
    victim.hear("at", START_SECONDS)
    heir = stage.line_up("next")
    victim.cancel()
    victim.tell("go on")
    victim.ends_cancelled("done")
    assert heir.sits(since=victim.said[-1].at_s) == 2
    stage.comes_to_rest()


def test_cancelled_while_it_is_refused(stages: Stages):
    stage = stages("gpu:cancel-refused:0")
    lease_id = stage.stranger()
    victim = stage.enter("victim", stays_at="withdraw.begin")
    victim.hear("at", START_SECONDS)
    heir = stage.line_up("next")
    victim.cancel()
    victim.tell("go on")
    victim.ends_cancelled("left")
    assert heir.sits(REFUSED_WAIT_SECONDS + SOON_SECONDS, since=stage.give_back(lease_id)) == 1
    stage.comes_to_rest()


def test_cancelled_asleep_with_an_offer(stages: Stages):
    """Nobody else waits, so nobody passes the offer on before it wakes."""
    stage = stages("gpu:cancel-offered:0")
    holder = stage.seat("holder")
    victim = stage.line_up("victim")
    victim.stop()
    holder.rises()
    holder.ends()
    assert victim.state == "offered"
    victim.send(signal.SIGTERM)
    victim.resume()
    victim.ends_cancelled("left")
    assert stage.enter("next").sits() == 2
    stage.comes_to_rest()


@pytest.mark.parametrize("point", ["accept.done", "accept.confirming"])
def test_cancelled_while_it_accepts(point: str, stages: Stages):
    stage = stages(f"gpu:cancel-{point}:0")
    holder = stage.seat("holder")
    victim, heir = stage.line_up("victim", stays_at=point), stage.line_up("next")
    holder.rises()
    victim.hear("at", START_SECONDS)
    victim.cancel()
    victim.tell("go on")
    victim.ends_cancelled("done")
    assert heir.sits(since=victim.said[-1].at_s) == 3
    stage.comes_to_rest()


def test_cancelled_while_it_sits(stages: Stages):
    stage = stages("gpu:cancel-seated:0")
    victim, heir = stage.seat("victim"), stage.line_up("next")
    cancelled_s = victim.send(signal.SIGTERM)
    assert heir.sits(since=cancelled_s) == 2
    victim.ends_cancelled("done")
    stage.comes_to_rest()


@pytest.mark.parametrize("point", ["renewal.stopped", "hand_over.begin", "hand_over.done"])
def test_cancelled_while_it_hands_the_desk_on(point: str, stages: Stages):
    stage = stages(f"gpu:cancel-{point.replace('_', '-')}:0")
    victim, heir = stage.seat("victim", stays_at=point), stage.line_up("next")
    victim.rises()
    victim.hear("at", START_SECONDS)
    victim.cancel()
    told_s = victim.tell("go on")
    victim.ends_cancelled("done")
    assert heir.sits(since=told_s) == 2
    stage.comes_to_rest()


@pytest.mark.parametrize("point", ["release.sending", "release.answered", "release.begin"])
def test_cancelled_while_it_releases(point: str, stages: Stages):
    stage = stages(f"gpu:cancel-{point}:0")
    victim = stage.seat("victim", stays_at=point)
    victim.rises()
    victim.hear("at", START_SECONDS)
    victim.cancel()
    victim.tell("go on")
    victim.ends_cancelled("done")
    assert stage.enter("next").sits() == 2
    stage.comes_to_rest()
