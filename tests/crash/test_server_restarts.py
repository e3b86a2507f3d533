"""The Prefect server is killed and started again: nobody loses a seat or a place, and no slot stays taken.

Natively the slot stays taken for good and its holder is cancelled (../shared/FACTS.md).
"""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from deployments.environment import SERVER, own_port
from deployments.server import ensure_server
from deployments.services import is_alive, running
from governor.policy.turns import HEAD_LOOK_SECONDS
from governor.settings import Home
from governor.succession import SETTLED_SECONDS
from governor.turn import REFUSED_WAIT_SECONDS
from tests.conftest import at_home
from tests.crash.actor import GONE_SECONDS, SOON_SECONDS, until
from tests.crash.conftest import Stages

# Who gets no answer tries again after half a second; a server that just started answers slowly at first.
AFTER_RESTART_SECONDS = 3.0


class Server:
    """The server of these tests, to kill and start again on the same port."""

    def __init__(self, where: Home) -> None:
        with at_home(where):
            self._where, self._port = where, own_port(where)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        row = running(self._where, SERVER)
        assert row is not None
        assert row.pid is not None
        os.kill(row.pid, signal.SIGKILL)
        until(lambda: not is_alive(row), GONE_SECONDS, "the server is dead")

    def start(self) -> float:
        """Start it, and wait until it answers; when it was."""
        with at_home(self._where):
            ensure_server(self._where, self._port)
        return time.monotonic()


@pytest.fixture
def server(quiet_server: Home) -> Iterator[Server]:
    """The server; it runs again when the test is over."""
    found = Server(quiet_server)
    yield found
    found.start()


def test_a_server_that_is_killed_and_restarted_costs_nobody_a_seat_or_a_place(server: Server, stages: Stages):
    stage = stages("gpu:restarted:0")
    holder = stage.seat("holder")
    heir = stage.line_up("heir")
    server.kill()
    assert holder.is_seated()
    last = stage.line_up("last")  # comes while no server answers
    server.start()
    assert holder.is_seated()
    assert heir.sits(AFTER_RESTART_SECONDS, since=holder.rises()) == 2
    assert last.sits(since=heir.rises()) == 3
    stage.comes_to_rest()


@pytest.mark.long
def test_the_desk_is_handed_on_while_no_server_answers(server: Server, stages: Stages):
    stage = stages("gpu:handed-on:0")
    holder = stage.seat("holder")
    heir, last = stage.line_up("heir"), stage.line_up("last")
    server.kill()
    holder.rises()
    holder.ends()
    until(lambda: stage.slot.ticket_id == heir.ticket_id, SOON_SECONDS, "the heir has the seat, and asks if it is good")
    assert heir.is_silent()
    assert heir.sits(AFTER_RESTART_SECONDS, since=server.start()) == 2
    assert last.sits(since=heir.rises()) == 3
    stage.comes_to_rest()


@pytest.mark.long
def test_who_comes_while_no_server_answers_sits_down_once_it_does(server: Server, stages: Stages):
    stage = stages("gpu:first:0")
    server.kill()
    newcomer = stage.line_up("newcomer")
    assert newcomer.sits(AFTER_RESTART_SECONDS, since=server.start()) == 1
    stage.comes_to_rest()


@pytest.mark.long
def test_a_release_that_no_server_answered_is_made_up_for(server: Server, stages: Stages):
    """The lease is found by the uuid of a ticket that is over; its own release may be under way for 15 s."""
    stage = stages("gpu:unreleased:0")
    holder = stage.seat("holder")
    server.kill()
    risen_s = holder.rises()
    holder.ends()
    newcomer = stage.line_up("newcomer")
    ready_s = server.start()
    settled_s = risen_s + SETTLED_SECONDS + REFUSED_WAIT_SECONDS + HEAD_LOOK_SECONDS
    newcomer.sits(AFTER_RESTART_SECONDS, since=max(ready_s, settled_s))
    stage.comes_to_rest()
