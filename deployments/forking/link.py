"""The worker's side of one fork server: start it, have it fork, learn how each child ended.

Bound to one event loop. That a server died is seen here, and what it means: its children go on and are watched from
here, only how they end is not told any more. Which server forks is left to `forks`.
"""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.forking import wire
from governor.errors import NotReady
from governor.events import log_event

# Importing everything takes 3 to 6 s on two cores (measured), ten times that where no bytecode is there yet.
READY_SECONDS = 90.0
# A fork takes 5 ms; a machine out of memory may take long to say no.
FORK_SECONDS = 20.0
# From the kill of a server to the end of its link, with all that it said before.
LAST_SECONDS = 1.0
# 13 requests of 10 KB are in the socket at most (measured); the server takes one out every 5 ms.
FULL_SECONDS = 0.005
# What is told of a child whose end nobody saw; Prefect takes it for a crash unless the run told its own end.
UNSEEN = -signal.SIGKILL.value


class ForkServerGone(NotReady):
    """The fork server ended before it forked; no run was begun."""


@dataclass(eq=False)
class Child:
    """The process of a run, as Prefect's handles want it: `returncode` is None while it runs.

    `was_seen`: its end was told, and is not only known to have come.
    """

    pid: int
    pidfd: int
    ended: asyncio.Future[int]
    returncode: int | None = None
    was_seen: bool = True

    def signal(self, sign: signal.Signals) -> None:
        """Reach this very process, whatever has its number later.

        Raises:
            ProcessLookupError: it has ended.
        """
        if self.returncode is not None:
            raise ProcessLookupError(self.pid)
        signal.pidfd_send_signal(self.pidfd, sign)

    def end_as(self, status: int) -> None:
        """Its end is known; the first word counts."""
        if self.returncode is None:
            self.returncode = status
            os.close(self.pidfd)
            if not self.ended.done():
                self.ended.set_result(status)


@dataclass(eq=False)
class Link:
    """One fork server and its children, by pid."""

    process: subprocess.Popen[bytes]
    socket: socket.socket
    fingerprint: str
    ready: asyncio.Future[dict[str, Any]]
    asked: dict[str, asyncio.Future[Child]] = field(default_factory=dict)
    children: dict[int, Child] = field(default_factory=dict)
    lost: bool = False

    @classmethod
    def start(cls, root: Path, fingerprint: str, env: Mapping[str, str]) -> "Link":
        """Start a server that preloads the flows of `root`."""
        ours, theirs = wire.pair()
        ours.setblocking(False)
        argv = [sys.executable, "-m", "deployments.forking.server", str(theirs.fileno()), str(root)]
        with theirs:
            process = subprocess.Popen(argv, env=dict(env), pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        loop = asyncio.get_running_loop()
        link = cls(process, ours, fingerprint, loop.create_future())
        loop.add_reader(ours, link._read)
        return link

    async def wait_ready(self) -> None:
        """Until it has imported everything.

        Raises:
            ForkServerGone: it ended, or did not come up in time.
        """
        try:
            await asyncio.wait_for(asyncio.shield(self.ready), READY_SECONDS)
        except TimeoutError as error:
            self.process.kill()
            raise ForkServerGone(
                f"The fork server was not ready after {READY_SECONDS:.0f} s.",
                means="No run was begun; they stay scheduled.",
                remedy="Look at the load of this machine; the worker tries again with the next run.",
            ) from error

    async def fork(self, request: dict[str, Any]) -> Child:
        """A child that runs the flow run `request["run"]`; what else is asked of it is read by `child`.

        Raises:
            ForkServerGone: the server ended, or hangs and was ended; its children go on.
            NotReady: the kernel makes no more processes, or what is asked is too long.
        """
        run = request["run"]
        asked = self.asked[run] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(FORK_SECONDS):
                await self._send(request)
                return await asked
        except TimeoutError as error:
            await self._end_hanging()
            raise _gone() from error
        except OSError as error:
            raise (_too_long(error) if error.errno == errno.EMSGSIZE else _gone()) from error
        finally:
            self.asked.pop(run, None)

    async def _send(self, request: dict[str, Any]) -> None:
        """As soon as there is room for it."""
        while not self.lost:
            try:
                return wire.send(self.socket, request)
            except BlockingIOError:
                await asyncio.sleep(FULL_SECONDS)
        raise _gone()

    async def _end_hanging(self) -> None:
        """A child that it made after all, too late, is killed as its word is read (`_add`)."""
        log_event("fork_server_hangs", level=logging.WARNING, pid=self.process.pid, children=len(self.children))
        self.process.kill()
        try:
            async with asyncio.timeout(LAST_SECONDS):
                while not self.lost:
                    await asyncio.sleep(FULL_SECONDS)
        except TimeoutError:
            pass
        finally:
            self._lose()

    def retire(self) -> None:
        """Let it end after its last child; it forks no more."""
        if not self.lost:
            try:
                wire.send(self.socket, {"retire": True})
            except OSError:
                self._lose()

    def _read(self) -> None:
        try:
            received = wire.receive(self.socket)
        except BlockingIOError:
            return
        if received is None:
            self._lose()
        else:
            self._hear(*received)

    def _hear(self, message: dict[str, Any], descriptors: list[int]) -> None:
        if "ready" in message and not self.ready.done():
            if offences := message["offences"]:
                log_event("fork_server_unsafe", level=logging.WARNING, offences="; ".join(offences))
            self.ready.set_result(message)
        elif "pid" in message:
            self._add(message["run"], message["pid"], descriptors)
        elif "refused" in message:
            _answer(self.asked.get(message["run"]), _refused(message["refused"]))
        elif (child := self.children.pop(message.get("ended", 0), None)) is not None:
            child.end_as(message["status"])

    def _add(self, run: str, pid: int, descriptors: list[int]) -> None:
        asked = self.asked.get(run)
        if not descriptors:  # this process has none left: a run that nobody can watch must not run
            os.kill(pid, signal.SIGKILL)  # its server has not reaped it, so the number is still its own
            _answer(asked, _refused("the worker has too many files open"))
            return
        child = self.children[pid] = Child(pid, descriptors[0], asyncio.get_running_loop().create_future())
        if asked is None or asked.done():  # nobody waits for it any more
            child.signal(signal.SIGKILL)
        else:
            asked.set_result(child)

    def _lose(self) -> None:
        """The server is gone. From now on each child is watched by its pidfd."""
        if self.lost:
            return
        self.lost = True
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.socket)
        # A server that ended with requests unread is a reset to the kernel, which tells of that before its last words.
        with contextlib.suppress(OSError):
            while (received := wire.receive(self.socket)) is not None:
                self._hear(*received)
        self.socket.close()
        self.process.poll()
        for future in (self.ready, *self.asked.values()):
            _answer(future, _gone())
        for child in self.children.values():
            loop.add_reader(child.pidfd, self._ended_unseen, child)

    def _ended_unseen(self, child: Child) -> None:
        asyncio.get_running_loop().remove_reader(child.pidfd)
        self.children.pop(child.pid, None)
        child.was_seen = False
        child.end_as(UNSEEN)


def _answer(future: asyncio.Future[Any] | None, error: Exception) -> None:
    if future is not None and not future.done():
        future.set_exception(error)
        future.exception()  # it may be that nobody waits for it


def _gone() -> ForkServerGone:
    return ForkServerGone(
        "The fork server ended.",
        means="Runs that were begun go on; this one was not.",
        remedy="The worker starts another one and tries again; its log says why it ended.",
    )


def _too_long(error: OSError) -> NotReady:
    return NotReady(
        f"The run's environment is too long for the fork server: {error.strerror}.",
        means="The run was not begun, and is reported as crashed.",
        remedy="Set fewer or shorter variables in `env` of its deployment's job variables; a file takes long values.",
    )


def _refused(why: str) -> NotReady:
    return NotReady(
        f"No process could be made for the run: {why}.",
        means="It was not begun, and is reported as crashed.",
        remedy="Look at free memory and at the limit of processes (`ulimit -u`); it runs again at its next time.",
    )
