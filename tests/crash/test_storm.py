"""A minute of everything at once: kills at failpoints and anywhere else, cancels, sleepers, one line, one server.

Real processes keep no seed; what they did is in the message of a failure. Seeded schedules by the thousand are
`tests/simulation`.
"""

import random
import signal
import time
from contextlib import suppress

import pytest

from tests.crash.actor import Actor
from tests.crash.conftest import Stages
from tests.crash.stage import Stage
from tests.crash.test_every_failpoint import failpoints_in_the_source

STORM_SECONDS = 60.0
MOST_AT_ONCE = 8
# Two of these fit into the time that a sleeper has to accept an offer.
GUST_SECONDS = 0.1
STRUCK = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)


def newcomer(stage: Stage, dice: random.Random, number: int) -> Actor:
    doom = dice.choice(failpoints_in_the_source()) if dice.random() < 0.4 else ""
    actor = stage.start(f"agent{number}", dies_at=doom)
    if doom:
        actor.excused.add(-signal.SIGKILL)
    actor.tell("rise")  # as soon as it sits
    return actor


def strike(actor: Actor, dice: random.Random) -> None:
    with suppress(ProcessLookupError):
        actor.send(dice.choice(STRUCK))


def wake_all(actors: list[Actor]) -> None:
    for actor in actors:
        with suppress(ProcessLookupError):
            actor.resume()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_after_a_storm_nothing_is_left_and_no_two_sat_at_once(seed: int, stages: Stages):
    stage, dice = stages(f"gpu:storm:{seed}"), random.Random(seed)
    ends_s, number = time.monotonic() + STORM_SECONDS, 0
    while time.monotonic() < ends_s:
        living = stage.living()
        if len(living) < MOST_AT_ONCE:
            number += 1
            newcomer(stage, dice, number)
        elif dice.random() < 0.3:
            strike(dice.choice(living), dice)
        elif dice.random() < 0.3:
            wake_all(living)
        time.sleep(GUST_SECONDS)  # the pace of the storm; nothing is awaited
    stage.comes_to_rest()
    seats = sum(heard.word == "seated" for actor in stage.actors for heard in actor.said)
    assert seats > STORM_SECONDS / 2, stage.picture()
