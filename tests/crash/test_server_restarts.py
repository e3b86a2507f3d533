"""The Prefect server is killed and started again: nobody loses a seat or a place, and no slot stays taken.

Natively the slot stays taken for good and its holder is cancelled (../shared/FACTS.md).
"""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from deployments.environment import SERVER, own_port
from deployments.server import ensure_server, port_taken
from deployments.services import is_alive, running
from governor.settings import Home
from tests.conftest import at_home
from tests.crash.actor import GONE_SECONDS, LEASE_ENDS_SECONDS, SOON_SECONDS, until
from tests.crash.conftest import Stages

# Who gets no answer tries again after half a second; a server that just started answers slowly at first.
AFTER_RESTART_SECONDS = 3.0


class Server:
    """The server of these tests, to kill and start again on the same port."""

    def __init__(self, where: Home) -> None:
        with at_home(where):
            self._where, self._port = where, own_port(where)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone: a process whose first thread has ended counts as dead a bit earlier."""
        row = running(self._where, SERVER)
        assert row is not None
        assert row.pid is not None
        os.kill(row.pid, signal.SIGKILL)
        until(lambda: not is_alive(row) and not port_taken(self._port), GONE_SECONDS, "the server is dead")

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
def test_a_release_that_no_server_answered_keeps_the_desk_for_the_rest_of_its_lease(server: Server, stages: Stages):
    """The lease that it left ends by itself: 75 s at most after its last renewal."""
    stage = stages("gpu:unreleased:0")
    holder = stage.seat("holder")
    server.kill()
    risen_s = holder.rises()
    holder.ends()
    newcomer = stage.line_up("newcomer")
    server.start()
    newcomer.sits(LEASE_ENDS_SECONDS + SOON_SECONDS, since=risen_s)
    stage.comes_to_rest()
