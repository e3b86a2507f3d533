"""A stage: one line of its own with its limit of one slot on the real server, and the processes that play on it.

What one of them does is `tests.crash.part`, how it is watched `tests.crash.actor`. `close` ends what still
runs, by its pid.
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from sqlalchemy import select

from governor.desk import clear_dead
from governor.lease import LEASE_SECONDS, PrefectLimit
from governor.rows import LIVE
from governor.state.models import Slot, Ticket
from governor.state.sessions import reading
from tests.crash.actor import GONE_SECONDS, START_SECONDS, Actor, start
from tests.crash.part import Part


class Stage:
    """A line and its limit of one slot, made anew, and the actors on it."""

    def __init__(self, line: str, folder: Path, client: SyncPrefectClient) -> None:
        self.line, self.folder, self.client = line, folder, client
        folder.mkdir(parents=True, exist_ok=True)
        self.actors: list[Actor] = []
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=line, limit=1))

    def start(
        self, agent: str, *, token: str = "", armed: bool = True, unshare: Sequence[str] = (), **how: Any
    ) -> Actor:
        """Start a process. With `dies_at` or `stays_at` it does so at once when `armed`, else after `arm`."""
        how.setdefault("environment", dict(os.environ))
        part = Part(agent, self.line, folder=str(self.folder), token=token or f"{agent}.token", **how)
        if armed:
            self.arm(part.token)
        actor = start(part, self.picture, unshare)
        self.actors.append(actor)
        return actor

    def enter(self, agent: str, **how: Any) -> Actor:
        """Start a process and wait until it has its ticket."""
        actor = self.start(agent, **how)
        actor.hear("took", START_SECONDS)
        return actor

    def line_up(self, agent: str, **how: Any) -> Actor:
        """Start a process and wait until it rests in line."""
        actor = self.enter(agent, **how)
        actor.hear("waits", START_SECONDS)
        return actor

    def seat(self, agent: str, **how: Any) -> Actor:
        """Start a process that sits down at the free desk at once."""
        actor = self.enter(agent, **how)
        actor.sits(START_SECONDS)
        return actor

    def arm(self, token: str) -> None:
        """From now on one process that has this token dies at its failpoint."""
        (self.folder / token).touch()

    def one_dies(self, *actors: Actor, within: float = START_SECONDS) -> tuple[float, Actor]:
        """One of two who share a token dies; since when the other one is there without it."""
        ready = wait([actor.process.sentinel for actor in actors], within)
        dead, left = sorted(actors, key=lambda actor: actor.process.sentinel not in ready)
        return max(dead.dies(within), left.took_s), left

    def stranger(self) -> str:
        """A flow outside the line takes the limit; its lease."""
        return self._lease(uuid4())

    def _lease(self, uuid: UUID) -> str:
        holder = ConcurrencyLeaseHolder(type="task_run", id=uuid)
        answer = self.client.increment_concurrency_slots_with_lease(
            [self.line], 1, "concurrency", LEASE_SECONDS, holder
        )
        return str(answer.json()["lease_id"])

    def orphan(self) -> str:
        """The lease of a process that died before its answer: in no row, held by the uuid of a dead ticket."""
        dead = self.enter("orphan", stays_at="ask.begin")
        dead.hear("at", START_SECONDS)
        with reading() as session:
            uuid = session.get_one(Ticket, dead.ticket_id).uuid
        lease_id = self._lease(UUID(uuid))
        dead.kill()
        return lease_id

    def give_back(self, lease_id: str) -> float:
        """The stranger is done, or the server ended a lease; when that was."""
        self.client.release_concurrency_slots_with_lease(UUID(lease_id))
        return time.monotonic()

    @property
    def slot(self) -> Slot:
        """The row of the slot."""
        with reading() as session:
            return session.get_one(Slot, (self.line, 0))

    @property
    def active_slots(self) -> int:
        """How many slots the server counts as taken."""
        return self.client.read_global_concurrency_limit_by_name(self.line).active_slots

    def leases_of(self, actor: Actor) -> list[str]:
        """The leases that the server keeps for an actor's ticket."""
        with reading() as session:
            uuid = session.get_one(Ticket, actor.ticket_id).uuid
        with PrefectLimit(self.line) as limit:
            return [lease_id for lease_id, holder in limit.leases() if holder == uuid]

    def open_tickets(self) -> list[str]:
        """Who is still in line or at the desk by our rows."""
        mine = select(Ticket).where(Ticket.line == self.line, Ticket.state.in_(LIVE))
        with reading() as session:
            return [f"{ticket.agent} is {ticket.state}" for ticket in session.scalars(mine)]

    def picture(self) -> str:
        """What stands in the rows, was said and was logged, for a person who reads a failure."""
        with reading() as session:
            slot = session.get(Slot, (self.line, 0))
            what = f"{slot.state}, fence {slot.fence}, ticket {slot.ticket_id}" if slot else "none"
        said = [f"{actor.part.agent}: {' '.join(map(str, actor.said))}" for actor in self.actors]
        logs = [f"{log.name}: {log.read_text()}" for log in sorted(self.folder.glob("*.log"))]
        now = f"now: {time.monotonic():.3f} (on the wall {time.time():.3f})"
        return "\n".join([f"slot: {what}", f"open: {self.open_tickets()}", now, *said, *logs])

    def living(self) -> list[Actor]:
        """Whose process has not ended."""
        return [actor for actor in self.actors if actor.process.exit_code(0.0) is None]

    def comes_to_rest(self) -> None:
        """Whoever lives sits down in turn and stands up; then nothing is left of anybody, here or at the server."""
        for actor in self.living():
            with suppress(ProcessLookupError, BrokenPipeError):  # it may be dying
                actor.resume()
                actor.tell("rise")
        for actor in self.actors:
            actor.hear_out()
        with PrefectLimit(self.line) as limit:
            clear_dead(self.line, limit)
        assert self.open_tickets() == [], self.picture()
        with reading() as session:
            assert (slot := session.get(Slot, (self.line, 0))) is None or slot.state == "free", self.picture()
        assert self.active_slots == 0, self.picture()
        self._fences_grew()

    def _fences_grew(self) -> None:
        seats = sorted((h for actor in self.actors for h in actor.said if h.word == "seated"), key=lambda h: h.at_s)
        fences = [heard.fact[0] for heard in seats]
        assert fences == sorted(set(fences)), fences
        assert not [h for actor in self.actors for h in actor.said if h.word == "overlap"]

    def close(self) -> None:
        """End every process that still runs."""
        for actor in self.actors:
            if actor.process.exit_code(0.0) is None:
                with suppress(ProcessLookupError):
                    actor.kill()
                actor.process.exit_code(GONE_SECONDS)
            actor.wire.close()
