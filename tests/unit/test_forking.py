"""What worker and fork server say to each other, and what the worker makes of it."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from deployments.forking import link as link_module
from deployments.forking import wire
from deployments.forking.link import Child, ForkServerGone, Link
from deployments.forking.server import ForkServer
from governor.engines.embedded_child import as_any_for_memory
from governor.errors import NotReady


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = wire.pair()
    with ours, theirs:
        yield ours, theirs


def test_each_message_comes_whole_and_alone(ends):
    messages: list[dict[str, Any]] = [{"run": "é" * size} for size in (0, 1, 3000)]
    for message in messages:
        wire.send(ends[0], message)
    assert [wire.receive(ends[1]) for _ in messages] == [(message, []) for message in messages]


def test_a_descriptor_comes_with_its_message_and_is_the_same_file(ends):
    reading, writing = os.pipe()
    wire.send(ends[0], {"pid": 7}, [writing])
    os.close(writing)
    received = wire.receive(ends[1])
    assert received is not None
    message, (copy,) = received
    os.write(copy, b"here")
    assert (message, os.read(reading, 4)) == ({"pid": 7}, b"here")
    for descriptor in (reading, copy):
        os.close(descriptor)


def test_an_end_that_is_gone_is_none_after_all_that_it_said(ends):
    wire.send(ends[0], {"last": 1})
    ends[0].close()
    assert [wire.receive(ends[1]), wire.receive(ends[1])] == [({"last": 1}, []), None]
    with pytest.raises(BrokenPipeError):
        wire.send(ends[1], {})


def test_nothing_to_read_yet_is_no_end(ends):
    ends[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        wire.receive(ends[1])


@pytest.mark.parametrize("rubbish", [b"GET / HTTP/1.1", b'{"run": "cut o', b"\xff\xfe"])
def test_rubbish_is_somebody_elses_end_and_its_descriptors_are_let_go(ends, rubbish: bytes):
    reading, writing = os.pipe()
    socket.send_fds(ends[0], [rubbish], [writing])
    os.close(writing)
    assert wire.receive(ends[1]) is None
    os.set_blocking(reading, False)
    assert os.read(reading, 1) == b"", "the last writer is closed"
    os.close(reading)


@pytest.mark.parametrize("over", [1, 9 * 1024, 1024 * 1024])
def test_what_the_other_end_could_not_read_is_not_sent(ends, over: int):
    frame = len(json.dumps({"run": ""}))
    wire.send(ends[0], {"run": "x" * (wire.MOST_BYTES - frame)})
    assert wire.receive(ends[1]) is not None
    with pytest.raises(OSError, match="go through"):
        wire.send(ends[0], {"run": "x" * (wire.MOST_BYTES - frame + over)})


class FakeProcess:
    """A FAKE of the process of a fork server."""

    pid = 0

    def __init__(self) -> None:
        self.at_kill: Callable[[], object] = lambda: None

    def poll(self) -> None: ...

    def kill(self) -> None:
        self.at_kill()


def linked(act: Callable[[Link, socket.socket], Any]) -> Any:
    """A link whose other end, a FAKE fork server, is the test's."""

    async def go() -> Any:
        ours, theirs = wire.pair()
        ours.setblocking(False)
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        link = Link(cast(Any, FakeProcess()), ours, "", loop.create_future())
        loop.add_reader(ours, link._read)
        with theirs:
            try:
                return await asyncio.wait_for(act(link, theirs), 10)
            finally:
                if not link.lost:
                    loop.remove_reader(ours)
                    ours.close()

    return asyncio.run(go())


async def asked(theirs: socket.socket) -> dict[str, Any]:
    """The next request, as the fork server would read it."""
    while True:
        try:
            received = wire.receive(theirs)
        except BlockingIOError:
            await asyncio.sleep(0.001)
        else:
            assert received is not None
            return received[0]


def test_what_the_kernel_refuses_is_said_with_what_to_do():
    async def act(link: Link, theirs: socket.socket):
        forking = asyncio.create_task(link.fork({"run": "1"}))
        wire.send(theirs, {"run": (await asked(theirs))["run"], "refused": "Cannot allocate memory"})
        with pytest.raises(NotReady, match=r"Cannot allocate memory.*free memory") as caught:
            await forking
        assert not isinstance(caught.value, ForkServerGone), "another server would be refused as well"
        assert (link.asked, link.lost) == ({}, False)

    linked(act)


def test_an_environment_that_is_too_long_is_refused_and_the_link_goes_on():
    async def act(link: Link, theirs: socket.socket):
        with pytest.raises(NotReady, match=r"too long.*job variables"):
            await link.fork({"run": "1", "env": {"BIG": "x" * 2**20}})
        assert (link.asked, link.lost) == ({}, False)

    linked(act)


def test_more_requests_at_once_than_the_socket_holds_wait_for_room():
    count = 40  # of 15 KB; 13 fit

    async def act(link: Link, theirs: socket.socket):
        forks = [asyncio.create_task(link.fork({"run": str(n), "env": "x" * 15_000})) for n in range(count)]
        await asyncio.sleep(0)  # all of them try once, and nobody reads
        seen: set[str] = set()
        while len(seen) < count:
            run = (await asked(theirs))["run"]
            seen.add(run)
            wire.send(theirs, {"run": run, "refused": "heard"})
        results = await asyncio.gather(*forks, return_exceptions=True)
        assert ["heard" in str(result) for result in results] == [True] * count

    linked(act)


def test_who_waits_for_room_hears_that_the_server_ended():
    async def act(link: Link, theirs: socket.socket):
        forks = [asyncio.create_task(link.fork({"run": str(n), "env": "x" * 15_000})) for n in range(40)]
        await asyncio.sleep(0)
        theirs.close()
        results = await asyncio.gather(*forks, return_exceptions=True)
        assert {type(result) for result in results} == {ForkServerGone}

    linked(act)


def test_a_child_that_nobody_asked_for_any_more_is_killed(sleeper: int):
    async def act(link: Link, theirs: socket.socket):
        forking = asyncio.create_task(link.fork({"run": "1"}))
        await asked(theirs)
        forking.cancel()
        await asyncio.gather(forking, return_exceptions=True)
        pidfd = os.pidfd_open(sleeper)
        wire.send(theirs, {"run": "1", "pid": sleeper}, [pidfd])
        os.close(pidfd)
        while (ended := os.waitpid(sleeper, os.WNOHANG))[0] == 0:
            await asyncio.sleep(0.005)
        assert os.waitstatus_to_exitcode(ended[1]) == -signal.SIGKILL

    linked(act)


def test_a_server_that_hangs_is_ended_and_its_children_go_on(sleeper: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(link_module, "FORK_SECONDS", 0.02)

    async def act(link: Link, theirs: socket.socket):
        cast(Any, link.process).at_kill = theirs.close
        ended = asyncio.get_running_loop().create_future()
        child = link.children[sleeper] = Child(sleeper, os.pidfd_open(sleeper), ended)
        with pytest.raises(ForkServerGone):
            await link.fork({"run": "1"})
        assert (link.lost, link.asked, child.returncode) == (True, {}, None)
        child.signal(signal.SIGKILL)
        assert (await ended, child.was_seen) == (link_module.UNSEEN, False)

    linked(act)


def test_a_child_that_a_hanging_server_made_too_late_is_killed(sleeper: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(link_module, "FORK_SECONDS", 0.02)

    async def act(link: Link, theirs: socket.socket):
        def last_words() -> None:
            pidfd = os.pidfd_open(sleeper)
            wire.send(theirs, {"run": "1", "pid": sleeper}, [pidfd])
            os.close(pidfd)
            theirs.close()

        cast(Any, link.process).at_kill = last_words
        with pytest.raises(ForkServerGone):
            await link.fork({"run": "1"})
        while (ended := os.waitpid(sleeper, os.WNOHANG))[0] == 0:
            await asyncio.sleep(0.005)
        assert os.waitstatus_to_exitcode(ended[1]) == -signal.SIGKILL

    linked(act)


class FakeForkServer(ForkServer):
    """FAKE: its children do nothing."""

    def _become_child(self, message: dict[str, Any]) -> None:
        signal.alarm(5)  # also where the test fails
        signal.pause()
        os._exit(0)


def test_a_child_whose_worker_cannot_be_told_is_killed_and_reaped(ends, monkeypatch: pytest.MonkeyPatch):
    ends[0].close()
    server, made = FakeForkServer(ends[1], {}), list[int]()
    fork = os.fork
    monkeypatch.setattr(os, "fork", lambda: made.append(pid := fork()) or pid)
    open_before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    with pytest.raises(BrokenPipeError):
        server._fork({"run": "1"})
    assert server.children == {}
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == open_before
    with pytest.raises(ProcessLookupError):
        os.kill(made[0], 0)  # not even a zombie is left


def test_an_engine_does_not_go_before_others_for_memory_as_the_run_that_started_it(sleeper: int):
    score = Path(f"/proc/{sleeper}/oom_score_adj")
    score.write_text("300")
    as_any_for_memory(sleeper)
    assert score.read_text().strip() == "0"
    as_any_for_memory(2**22 + 1)  # nobody's


@pytest.fixture
def sleeper() -> Iterator[int]:
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "import signal; signal.pause()"], os.environ)
    yield pid
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
