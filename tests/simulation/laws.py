"""What must hold in every schedule, whatever happened: looked at at failpoints, at each call and at the end."""

import json
from typing import Any

from sqlalchemy import select

from governor.policy.ordering import Order
from governor.rows import OVER, SLOT, TICKET
from governor.ticket import Grant
from governor.turn import Turn
from tests.simulation.engine import Engine
from tests.simulation.pausing import Pausing
from tests.simulation.plan import Plan
from tests.simulation.rows import DRIVER, ENGINE, slot_rows
from tests.simulation.server import Server
from tests.simulation.world import Process, Violation, World

# A death is noticed at once; a dead releaser's own request is given 0.5 s, a refusal is repeated after 0.5 s.
FREED_WITHIN_SECONDS = 1.6


class Laws:
    """The invariants of one schedule; every one raises Violation.

    Args:
        world: whose failpoints are looked at. plan: what trouble there may be, and so which bounds hold.
        server: Prefect's. engine: the model's. pausing: who pauses the line. turns: of those who sit, by process.
    """

    def __init__(
        self, world: World, plan: Plan, *, server: Server, engine: Engine, pausing: Pausing, turns: dict[Process, Turn]
    ) -> None:
        self.world, self.plan, self.server, self.engine = world, plan, server, engine
        self.pausing, self.turns = pausing, turns
        self._claims: dict[int, tuple[Any, ...]] = {}
        self._fences: dict[int, int] = {}
        self._handed_over_s = 0.0
        world.observers.append(self.observe)

    def observe(self, name: str, process: Process) -> None:
        """At every failpoint of anybody."""
        self.pausing.observe(name)
        if name == "hand_over.begin":
            self._nothing_renews_any_more(process)
        if name == "hand_over.done":
            self._handed_over_s = self.world.clock_s
        if name in ("grant.done", "accept.done"):
            self._freed_in_time(process)
        if name in ("ask.done", "hand_over.done", "pass_on.done", "reap.done", "leave.done"):
            self._served_in_order()
        if name in ("grant.done", "accept.done", "revoke.done", "pass_on.done", "hand_over.done", "ask.done"):
            self._rows_agree(name)

    def _served_in_order(self) -> None:
        """Whoever is claimed for a slot passes nobody that waits, awake and alive, but as the policy allows."""
        # An heir whose lease is gone asks again at the seat that it was granted: that chooses nobody.
        claims = DRIVER.execute(
            'SELECT "index", ticket_id, passed, since_s FROM slots'
            ' WHERE state = "offered" OR state = "asking" AND granted_at IS NULL'
        ).fetchall()
        for number, ticket_id, passed, since_s in claims:
            if self._claims.get(number) == (ticket_id, since_s):
                continue
            self._claims[number] = (ticket_id, since_s)
            ahead = DRIVER.execute(
                "SELECT id, pid, start_ticks FROM tickets WHERE id < ? AND state = 'waiting' AND NOT asleep",
                (ticket_id,),
            ).fetchall()
            alive = {(p.identity.pid, p.identity.start_ticks) for p in self.world.processes if p.alive}
            skipped = {row[0] for row in ahead if (row[1], row[2]) in alive}
            allowed = set(json.loads(passed)) if self.plan.rules.order is not Order.FIFO else set()
            if skipped - allowed:
                raise Violation(f"ticket {ticket_id} is served before {sorted(skipped - allowed)}")

    def _rows_agree(self, name: str) -> None:
        rows = slot_rows()
        high = DRIVER.execute("SELECT coalesce(max(overtaken), 0) FROM tickets").fetchone()[0]
        for row in rows:
            if row.fence < self._fences.get(row.number, 0):
                raise Violation(f"fence of slot {row.number} fell to {row.fence}")
            self._fences[row.number] = row.fence
        if high > self.plan.rules.overtakes_at_most:
            raise Violation(f"a ticket was overtaken {high} times")
        held = {(row.number, row.fence) for row in rows if row.state == "held"}
        grants = [turn.grant for turn in self.turns.values() if turn.grant]
        seated = [grant for grant in grants if (grant.index, grant.fence) in held]
        if len(seated) > self.plan.slots:
            raise Violation(f"{len(seated)} current seats at {self.plan.slots} slots after {name}")

    def _nothing_renews_any_more(self, process: Process) -> None:
        """The renewal is stopped and joined before the lease changes hands."""
        if any(not thread.dead for thread in process.threads[1:]) and not process.ever_stopped:
            raise Violation(f"{process.name} stands up while its renewal still runs")

    def _freed_in_time(self, process: Process) -> None:
        """Whoever dies or stands up, the next one that waits sits within the bound; after a jump of the clock the
        server takes up to 15 s to end a lease that may have run out."""
        if self.plan.jumps:
            return
        began_s = max(self._handed_over_s, self.world.last_end_s, process.born_s, self.pausing.opened_s())
        waited_s = self.world.clock_s - began_s
        if self.plan.calm and not self.plan.remote and self.plan.slots == 1 and waited_s > FREED_WITHIN_SECONDS:
            raise Violation(f"{process.name} sat down {waited_s:.2f} s after the desk was left")

    def lease_lives(self, process: Process, grant: Grant) -> None:
        """An heir has one renewal answered before its first call, so its lease is at the server then."""
        lease_id = DRIVER.execute('SELECT lease_id FROM slots WHERE "index" = ?', (grant.index,)).fetchone()[0]
        if not self.plan.jumps and not process.ever_stopped and lease_id not in self.server.leases:
            raise Violation(f"{process.name} calls under the lease {lease_id}, which the server does not know")

    def one_call_under_a_current_fence(self, process: Process) -> None:
        current = {(row.number, row.fence) for row in slot_rows() if row.state == "held"}
        live = [c for c in self.engine.running() if (c.slot, c.fence) in current and c.process is not process]
        if len(live) >= self.plan.slots:
            raise Violation(f"{process.name} calls while {live[0].process.name} is in a call under a current fence")
        if self.plan.calm and self.plan.slots == 1 and self.engine.running():
            raise Violation(f"{process.name} calls an engine that is not quiet")

    def robbed(self, process: Process, turn: Turn) -> None:
        """A living holder inside its budget loses its seat only by what Prefect or a stop did."""
        if self.plan.calm and not self.plan.jumps:
            raise Violation(f"{process.name} was robbed inside its budget")

    def all_are_accounted_for(self) -> None:
        lost = [p.name for p in self.world.processes if p.is_agent and (p.alive or p.fate == "running")]
        if lost:
            raise Violation(f"still waiting at the end: {', '.join(lost)}")

    def cancels_leave_nothing_behind(self) -> None:
        """Who is cancelled, wherever, gives back what it had, at once; only the dead need a reaper."""
        if (
            self.plan.calm
            and not (self.plan.faults.kill or self.plan.jumps)
            and (self.server.leases or self.server.active_slots)
        ):
            raise Violation(f"leases are left although nobody died: {list(self.server.leases)}")

    def books_balance(self) -> None:
        with ENGINE.connect() as db:
            slots = db.execute(select(SLOT.c.index.label("number"), SLOT.c.state)).all()
            tickets = db.execute(select(TICKET.c.id, TICKET.c.state, TICKET.c.agent)).all()
            db.rollback()
        busy = [f"slot {row.number} is {row.state}" for row in slots if row.state != "free"]
        open_ = [f"ticket {row.id} of {row.agent} is {row.state}" for row in tickets if row.state not in OVER]
        if busy or open_:
            raise Violation("; ".join((*busy, *open_)))
        if self.server.active_slots != len(self.server.leases) or self.server.leases:
            raise Violation(f"the limit counts {self.server.active_slots}, {len(self.server.leases)} leases are left")
