"""A virtual Prefect server for one limit: what FACTS measured of the real one, its faults included.

Leases live on its disk and outlive a restart; an expired one is taken back by a loop of 15 s; an answer can
be lost before or after the work; two releases of one lease at once free two slots. Lease files can be read
by the clients unless the server is on another machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from governor.errors import NotReady, ServerSilent
from governor.limit import Renewed
from tests.simulation.world import Killed, Violation, World

LEASE_SECONDS, REPOSSESS_SECONDS = 60.0, 15.0


@dataclass
class Lease:
    uuid: str
    expires_at: float


class Server:
    """The limit's rows as the server keeps them. Wall times are seconds of the world's wall clock."""

    def __init__(self, world: World, slots: int, *, remote: bool) -> None:
        self.world, self.slots, self.remote = world, slots, remote
        self.active_slots, self.up = 0, True
        self.leases: dict[str, Lease] = {}
        self.in_release: set[str] = set()
        self._made = 0
        world.later(REPOSSESS_SECONDS, self._repossess)

    def _wall(self) -> float:
        return self.world.clock_s + self.world.wall_shift_s

    def _repossess(self) -> None:
        if self.up:
            for lease_id in [i for i, lease in self.leases.items() if lease.expires_at < self._wall()]:
                del self.leases[lease_id]
                self.active_slots = max(0, self.active_slots - 1)
        self.world.later(REPOSSESS_SECONDS, self._repossess)

    def increment(self, uuid: str) -> str | None:
        if self.active_slots >= self.slots:
            return None
        if len(self.leases) >= self.slots:
            raise Violation(f"a lease is granted beside {list(self.leases)}: the limit was counted down once too often")
        self.active_slots += 1
        self._made += 1
        lease_id = f"lease-{self._made}"
        self.leases[lease_id] = Lease(uuid, self._wall() + LEASE_SECONDS)
        return lease_id

    def renew(self, lease_id: str) -> Renewed:
        if lease_id not in self.leases:
            return Renewed.GONE
        self.leases[lease_id].expires_at = self._wall() + LEASE_SECONDS
        return Renewed.ALIVE

    def begin_release(self, lease_id: str) -> bool:
        self.in_release.add(lease_id)
        return lease_id in self.leases

    def finish_release(self, lease_id: str, existed: bool) -> None:
        if existed:
            if lease_id not in self.leases:
                raise Violation(f"{lease_id} was released twice at once: two slots are free")
            self.active_slots = max(0, self.active_slots - 1)
            del self.leases[lease_id]


class VirtualLimit:
    """`governor.limit.Limit` over a virtual wire: the work may happen although the client is dead by then."""

    def __init__(self, world: World, server: Server) -> None:
        self._world, self._server = world, server

    def prepare(self) -> None:
        self._world.at("prepare")

    def check(self, slots: int) -> None:
        if self._call(lambda: self._server.slots) != slots:
            raise NotReady("The limit has another size (virtual).", remedy="Bootstrap.")

    def ask(self, ticket_uuid: str) -> str | None:
        return self._call(lambda: self._server.increment(ticket_uuid))

    def renew(self, lease_id: str) -> Renewed:
        return self._call(lambda: self._server.renew(lease_id))

    def release(self, lease_id: str) -> bool:
        existed: list[bool] = []
        # A busy server takes its time between looking the lease up and counting it back.
        spent = self._world.random.choice((0.006, 0.006, 0.006, 0.3))

        def begin() -> None:
            existed.append(self._server.begin_release(lease_id))
            self._world.later(spent, lambda: self._server.finish_release(lease_id, existed[0]))

        try:
            self._call(begin, spent=spent + 0.002)
        except ServerSilent:
            return False
        return True

    def find(self, ticket_uuid: str) -> str | None:
        leases = {} if self._server.remote else self._server.leases
        return next((lease_id for lease_id, lease in leases.items() if lease.uuid == ticket_uuid), None)

    def leases(self) -> list[tuple[str, str]]:
        if self._server.remote:
            return []
        ends_after = self._server._wall() + 20.0
        leases = self._server.leases.items()
        return [(lease_id, lease.uuid) for lease_id, lease in leases if lease.expires_at > ends_after]

    def _call(self, work: Callable[[], Any], spent: float = 0.003) -> Any:
        """Send once; the request travels, is worked on, and the answer travels back, or is lost on the way."""
        world, server, dice = self._world, self._server, self._world.random
        if not world.me().alive:
            raise Killed  # the dead send nothing
        answer: list[Any] = []
        lost_there = dice.random() < world.faults.silence / 2
        lost_back = dice.random() < world.faults.silence / 2

        def arrive() -> None:
            if server.up and not lost_there:
                answer.append(work())

        world.later(dice.uniform(0.001, 0.004), arrive)
        world.at("sent")
        world.sleep(0.004 + spent)
        if not answer or lost_back:
            world.sleep(dice.choice((0.05, 2.0, 10.0)))
            raise ServerSilent("No answer (virtual).", remedy="Wait.")
        return answer[0]
