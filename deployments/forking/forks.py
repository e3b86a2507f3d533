"""Always a fork server that is up to date: a new one when code changed or the old one died.

An old one forks until the new one is ready, and goes on where that does not come up: a file that is saved half must
not stop every run. It stays until its last child has ended. How a server is talked to is `link`.
"""

import asyncio
import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Any

import certifi
from prefect.settings.context import get_current_settings

from deployments.forking.link import Child, ForkServerGone, Link
from deployments.forking.preload import fingerprint
from governor.events import log_event
from governor.settings import Home, home

# A look at 300 files takes 3 ms; whoever saves a file and runs its agent at once gets the new code a second later.
LOOK_AGAIN_SECONDS = 1.0
# glibc keeps a pool of memory for each of a run's threads, up to eight a core (mallopt(3)); a run's are idle mostly.
SMALL = {"MALLOC_ARENA_MAX": "2"}
# A server that dies twice on one run is not helped by a third.
TRIES = 2


class Forks:
    """Children for one worker; bound to one event loop.

    Attributes:
        root: the checkout whose flows are preloaded.
        settings: Prefect's settings as variables, the same for a fork server and its children: a child that has others
            reads them all again, which takes it 90 ms (measured).
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = _settings(home())
        self._link: Link | None = None
        self._turn = asyncio.Lock()
        self._looked_at_s = 0.0
        self._broken = ""  # the code, by its fingerprint, with which no server came up

    async def fork(self, request: dict[str, Any]) -> Child:
        """A child that runs a flow run (`Link.fork`).

        Raises:
            NotReady: no server comes up, or the kernel makes no more processes.
        """
        for left in reversed(range(TRIES)):
            link = await self.fresh()
            try:
                return await link.fork(request)
            except ForkServerGone:
                if not left:
                    raise
        raise AssertionError("the loop returns or raises")

    async def fresh(self) -> Link:
        """A server that is ready and has the code as it is now.

        Raises:
            ForkServerGone: it does not come up.
        """
        async with self._turn:
            old = self._link
            if old is None or old.lost:
                self._link = self._start(fingerprint(self.root))
                if old is not None:
                    log_event("fork_server_replaced", lost=True, children=len(old.children))
            elif (changed := self._changed(old)) is not None:
                await self._replace(old, changed)
            assert self._link is not None
            await self._link.wait_ready()
            return self._link

    def _start(self, mark: str) -> Link:
        return Link.start(self.root, mark, {**os.environ, **self.settings, **SMALL})

    async def _replace(self, old: Link, mark: str) -> None:
        """The old one stays where the new one does not come up, until code changes again."""
        new = self._start(mark)
        try:
            await new.wait_ready()
        except ForkServerGone as error:
            if old.lost:
                raise
            self._broken = mark
            log_event("fork_server_kept", level=logging.WARNING, error=str(error))
            return
        except BaseException:  # nobody waits for it any more
            new.retire()
            raise
        self._link = new
        log_event("fork_server_replaced", lost=old.lost, children=len(old.children))
        old.retire()

    def close(self) -> None:
        """Let go of the server; it ends after its last child."""
        if self._link is not None:
            self._link.retire()

    @property
    def server_pid(self) -> int | None:
        """The process that forks now."""
        return self._link.process.pid if self._link is not None and not self._link.lost else None

    @property
    def is_unsafe(self) -> bool:
        """Whether something that was imported would not survive a fork: a thread, a connection.

        True of the server that `fresh` gave last; who goes by it asks `fresh` first, or never hears of better code.
        """
        ready = self._link.ready if self._link is not None else None
        return ready is not None and ready.done() and ready.exception() is None and bool(ready.result()["offences"])

    def _changed(self, link: Link) -> str | None:
        """The fingerprint of code that is newer than the server's and worth a start; None: there is none."""
        now_s = time.monotonic()
        if now_s - self._looked_at_s < LOOK_AGAIN_SECONDS:
            return None
        self._looked_at_s = now_s
        mark = fingerprint(self.root)
        return None if mark in (link.fingerprint, self._broken) else mark


def _settings(where: Home) -> dict[str, str]:
    """As Prefect's starter hands them on.

    Prefect reads all authorities of the world for each of its clients (18 ms, three a run), also where the server is
    reached by plain http and none is ever asked for: there a file with one of them does.
    """
    settings = get_current_settings()
    found = settings.to_environment_variables(exclude_unset=True)
    if (settings.api.url or "").startswith("http://") and not settings.api.ssl_cert_file:
        with contextlib.suppress(OSError, ValueError):  # no state folder yet, or one that cannot be written to
            found["PREFECT_API_SSL_CERT_FILE"] = str(_one_authority(where.root / "one-authority.pem"))
    return found


def _one_authority(file: Path) -> Path:
    """Written whole, and once: runs that go on read it."""
    first, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----")
    text = first[first.rindex("-----BEGIN") :] + end + "\n"
    if not file.exists() or file.read_text() != text:
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        draft.write_text(text)
        draft.replace(file)
    return file
