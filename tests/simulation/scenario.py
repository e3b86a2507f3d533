"""One schedule: some agents with errands, some trouble, and what must hold whatever happened.

Run `python -m tests.simulation --seeds N` for more, `--seed S` to replay one with its log.
"""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, select
from sqlalchemy.pool import StaticPool

from governor import succession
from governor.errors import LeftLine, NotReady, StateUnavailable
from governor.giving_back import reclaim, settle
from governor.line import Errand, Line
from governor.pause_rows import PAUSE
from governor.policy.ordering import Order, OrderRules
from governor.policy.turns import RELEASING_SECONDS
from governor.rows import OVER, SETTING, SLOT, TICKET, order_key
from governor.state.models import Base
from governor.state.sessions import Store, engine_for
from governor.ticket import Grant
from governor.turn import Turn
from tests.simulation.batches import Batches
from tests.simulation.pausing import Pausing
from tests.simulation.server import Server, VirtualLimit
from tests.simulation.world import Cancelled, Faults, Process, Violation, VirtualEffects, World

HORIZON_SECONDS = 1500.0
QUIET_SECONDS = 0.5
# What is on its way to the server when the last agent ends arrives, and is answered or not.
SETTLE_SECONDS = 0.5
CLIENT_GONE_SECONDS = 0.34  # until an engine notices that a streaming client went away (measured)
# A death is noticed at once; a dead releaser's own request is given 0.5 s, a refusal is repeated after 0.5 s.
FREED_WITHIN_SECONDS = 1.6
# Longer than all seats of a schedule together: who leaves after that was forgotten.
LONG_PATIENCE_SECONDS = 300.0
MODELS = ("7b", "tiny")

_engine = engine_for("sqlite://", poolclass=StaticPool, begin=False)
Base.metadata.create_all(_engine, tables=[TICKET, SLOT, SETTING, PAUSE])


# The one connection of the pool, for looks between transactions that cost next to nothing.
_driver: Any = _engine.raw_connection().driver_connection


class SlotRow(NamedTuple):
    """A slot as the invariants see it."""

    number: int
    fence: int
    state: str


@dataclass
class Plan:
    """What one seed stands for."""

    agents: int
    slots: int
    rules: OrderRules
    faults: Faults
    remote: bool
    restarts: int
    jumps: int
    strangers: int
    overstay: bool
    by_hand: bool
    governed: bool

    @property
    def calm(self) -> bool:
        """Nothing but kills and cancels: then every bound on time must hold."""
        f = self.faults
        return not (
            f.stop
            or f.database
            or f.silence
            or f.slow
            or self.restarts
            or self.strangers
            or self.overstay
            or self.by_hand
        )


@dataclass
class Call:
    """A request at the engine."""

    process: Process
    fence: int
    slot: int
    ends_s: float


@dataclass
class Engine:
    """The model's server: it knows no fence, and goes on for a moment when its client is gone."""

    world: World
    calls: list[Call] = field(default_factory=list)

    def running(self) -> list[Call]:
        now_s = self.world.clock_s

        def runs(call: Call) -> bool:
            gone = not call.process.alive and now_s > call.process.died_s + CLIENT_GONE_SECONDS
            return now_s < call.ends_s and not gone

        self.calls = [call for call in self.calls if runs(call)]
        return self.calls


def plan_of(world: World) -> Plan:
    """Dice for one schedule. A third is calm, a third has one kind of trouble, the rest has several."""
    dice = world.random
    faults, mood = Faults(), dice.random()
    kinds = [
        "kill",
        "stop",
        "cancel",
        "database",
        "silence",
        "slow",
        "restart",
        "jump",
        "stranger",
        "overstay",
        "by hand",
    ]
    chosen = set(dice.sample(kinds, 1 if mood < 0.66 else dice.randint(2, 5))) if mood >= 0.25 else {"kill"}
    for name, rate in (("kill", 0.02), ("stop", 0.01), ("cancel", 0.03), ("database", 0.03), ("slow", 0.03)):
        if name in chosen:
            setattr(faults, name, rate * dice.choice((0.5, 1.0, 2.0)))
    if "silence" in chosen:
        faults.silence = dice.choice((0.02, 0.1, 0.3))
    order = dice.choice((Order.FIFO, Order.FIFO, Order.FIFO, Order.AFFINITY, Order.DEADLINE))
    rules = OrderRules(order=order, overtakes_at_most=dice.choice((0, 1, 3)), never_after_seconds=dice.choice((5, 600)))
    return Plan(
        agents=dice.choice((2, 3, 3, 4, 5)),
        slots=2 if dice.random() < 0.15 else 1,
        rules=rules,
        faults=faults,
        remote=dice.random() < 0.1,
        restarts=dice.randint(1, 2) if "restart" in chosen else 0,
        jumps=1 if "jump" in chosen else 0,
        strangers=dice.randint(1, 2) if "stranger" in chosen else 0,
        overstay="overstay" in chosen,
        by_hand="by hand" in chosen,
        governed=dice.random() < 0.15,
    )


class Schedule:
    """Everything of one seed. `play` raises Violation with the seed in its message."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.world = World(seed, Faults())
        self.plan = plan_of(self.world)
        self.world.faults = self.plan.faults
        with _engine.begin() as db:
            for table in (SLOT, TICKET, SETTING, PAUSE):
                db.execute(delete(table))
            db.execute(insert(SETTING).values(key=order_key("gpu"), value=self.plan.rules.model_dump_json()))
        self.store = Store(_engine)
        self.server = Server(self.world, self.plan.slots, remote=self.plan.remote)
        self.limit = VirtualLimit(self.world, self.server)
        self.effects = VirtualEffects(self.world)
        self.line = Line("gpu", self.store, self.world.judge, lambda: self.world.me().identity)
        self.pausing = Pausing(self.world, self.line, self.limit, _driver, jumps=bool(self.plan.jumps), seed=seed)
        self.batches = Batches(self.line, seed=seed)
        self.engine = Engine(self.world)
        self.turns: dict[Process, Turn] = {}
        self.claims: dict[int, tuple[Any, ...]] = {}
        self.roused: set[int] = set()
        self.fences: dict[int, int] = {}
        self.handed_over_s = 0.0
        self.world.observers.append(self._observe)

    def play(self) -> "Schedule":
        """Run it to the end and check what must hold."""
        try:
            with self.store.change("setup"):
                pass
            self._slots()
            self._set_out()
            self.world.run(self.world.clock_s + HORIZON_SECONDS, self._all_went_home)
            self.world.run(self.world.clock_s + SETTLE_SECONDS)
            self._all_are_accounted_for()
            self._cancels_leave_nothing_behind()
            self._come_to_rest()
            self._books_balance()
        except Violation as broken:
            raise Violation(f"seed {self.seed}: {broken}") from None
        finally:
            self.world.close()
        return self

    def _all_went_home(self) -> bool:
        world = self.world
        agents = [process for process in world.processes if process.is_agent]
        return len(agents) == self.plan.agents and not any(process.alive for process in agents)

    # -- who does what -----------------------------------------------------------------------------

    def _slots(self) -> None:
        with _engine.begin() as db:
            for index in range(self.plan.slots):
                db.execute(insert(SLOT).values(line="gpu", index=index))

    def _set_out(self) -> None:
        world, dice = self.world, self.world.random
        for number in range(self.plan.agents):
            delay = dice.choice((0.0, dice.uniform(0, 0.3), dice.uniform(0, 4)))
            world.later(delay, lambda number=number: self._start(number))
        for _ in range(self.plan.restarts):
            world.later(dice.uniform(0, 5), self._restart)
        for _ in range(self.plan.jumps):
            world.later(dice.uniform(0, 5), lambda: self._jump(dice.choice((-3600.0, 3600.0))))
        for _ in range(self.plan.strangers):
            world.later(dice.uniform(0, 3), self._stranger)
        self.pausing.set_out()
        if self.plan.governed:
            world.later(dice.uniform(0, 2), lambda: self._govern(rounds=20, pause_seconds=0.7))

    def _start(self, number: int) -> None:
        # A dead process's pid is given away again at once now and then.
        dead = [p.identity.pid for p in self.world.processes if not p.alive]
        pid = dead[-1] if dead and self.world.random.random() < 0.3 else None
        self.world.spawn(f"agent{number}", self._agent, pid=pid)

    def _restart(self) -> None:
        self.server.up = False
        self.world.later(self.world.random.choice((1.0, 10.0, 70.0)), lambda: setattr(self.server, "up", True))

    def _jump(self, seconds: float) -> None:
        self.world.wall_shift_s += seconds

    def _stranger(self) -> None:
        """Somebody else's flow takes the limit when it is free, and gives it back properly."""
        lease_id = self.server.increment("a-stranger")
        if lease_id is not None:
            seconds = self.world.random.uniform(0.1, 20)
            self.world.later(seconds, lambda: self.server.finish_release(lease_id, lease_id in self.server.leases))

    def _agent(self, process: Process) -> None:
        dice = self.world.random
        patience = dice.choice((0.5, 5.0, LONG_PATIENCE_SECONDS, LONG_PATIENCE_SECONDS, LONG_PATIENCE_SECONDS))
        due = self.world.now() if dice.random() < 0.3 else None
        errand = Errand("gpu", process.name, dice.choice(MODELS), patience, due, work_seconds=dice.uniform(0, 2))
        calls = self.batches.calls()
        try:
            while calls:
                turn = Turn(self.line, self.limit, self.effects, errand, slots=self.plan.slots, budget_seconds=20.0)
                calls = self._sit(process, turn, calls)
            process.fate = "served"
        except LeftLine as error:
            process.fate = "skipped"
            patient = patience >= LONG_PATIENCE_SECONDS and not self.pausing.was_in_vain(error, patience)
            if self.plan.calm and not self.plan.remote and patient:
                raise Violation(f"{process.name} waited in vain for {patience:.0f} s") from None
        except NotReady:
            process.fate = "not ready"
        except Cancelled:
            process.fate = "cancelled"
        except Lost:
            process.fate = "seat lost"

    def _sit(self, process: Process, turn: Turn, calls: int) -> int:
        """Sit once, for one call at least; how many calls are left when the seat is given up."""
        dice = self.world.random
        try:
            turn.take()
            turn.wait()
            turn.start_renewing()
            self.turns[process] = turn
            self._quiet(process)
            overstays = self.plan.overstay and dice.random() < 0.3
            self._call(process, turn, dice.choice((60.0, 25.0)) if overstays else dice.expovariate(1 / 0.4))
            for left in range(calls - 1, 0, -1):
                if self.batches.gives_up(turn):
                    return left
                self._call(process, turn, self.batches.call_seconds(), first=False)
            return 0
        finally:
            self.turns.pop(process, None)
            turn.rise()

    def _release_by_hand(self) -> None:
        """Somebody gives every lease back at the server; the count is right, the holder is not asked."""
        for lease_id in sorted(set(self.server.leases) - self.server.in_release):
            self.server.finish_release(lease_id, True)

    def _quiet(self, process: Process) -> None:
        """Before the first call the engine is quiet within 0.5 s, else it is ended (see governor.residency)."""
        if self.plan.slots > 1:
            return
        ends_s = self.world.clock_s + QUIET_SECONDS
        while self.engine.running():
            if self.world.clock_s >= ends_s:
                self.engine.calls.clear()
            self.world.sleep(0.05)

    def _call(self, process: Process, turn: Turn, seconds: float, *, first: bool = True) -> None:
        world, grant = self.world, turn.grant
        if grant is None or not turn.is_current():
            raise Lost
        self._one_call_under_a_current_fence(process)
        if first:
            self._lease_lives(process, grant)
        if self.plan.by_hand and self.plan.slots == 1 and world.random.random() < 0.5:
            self._release_by_hand()
        call = Call(process, grant.fence, grant.index, world.clock_s + seconds)
        self.engine.calls.append(call)
        world.at("calling")
        world.sleep(seconds)
        self.engine.calls = [c for c in self.engine.calls if c is not call]
        if not turn.is_current():
            self._robbed(process, turn)
            raise Lost

    # -- what must hold ------------------------------------------------------------------------------

    def _observe(self, name: str, process: Process) -> None:
        self.pausing.observe(name)
        if name == "hand_over.begin":
            self._nothing_renews_any_more(process)
        if name == "hand_over.done":
            self.handed_over_s = self.world.clock_s
        if name in ("grant.done", "accept.done"):
            self._freed_in_time(process)
        if name in ("ask.done", "hand_over.done", "pass_on.done", "reap.done", "leave.done"):
            self._served_in_order()
        if name in ("grant.done", "accept.done", "revoke.done", "pass_on.done", "hand_over.done", "ask.done"):
            self._rows_agree(name)

    def _served_in_order(self) -> None:
        """Whoever is claimed for a slot passes nobody that waits, awake and alive, but as the policy allows."""
        # An heir whose lease is gone asks again at the seat that it was granted: that chooses nobody.
        claims = _driver.execute(
            'SELECT "index", ticket_id, passed, since_s FROM slots'
            ' WHERE state = "offered" OR state = "asking" AND granted_at IS NULL'
        ).fetchall()
        for number, ticket_id, passed, since_s in claims:
            if self.claims.get(number) == (ticket_id, since_s):
                continue
            self.claims[number] = (ticket_id, since_s)
            ahead = _driver.execute(
                "SELECT id, pid, start_ticks FROM tickets WHERE id < ? AND state = 'waiting' AND NOT asleep",
                (ticket_id,),
            ).fetchall()
            alive = {(p.identity.pid, p.identity.start_ticks) for p in self.world.processes if p.alive}
            skipped = {row[0] for row in ahead if (row[1], row[2]) in alive}
            allowed = set(json.loads(passed)) if self.plan.rules.order is not Order.FIFO else set()
            if skipped - allowed:
                raise Violation(f"ticket {ticket_id} is served before {sorted(skipped - allowed)}")

    def _rows_agree(self, name: str) -> None:
        rows = self._slot_rows()
        high = _driver.execute("SELECT coalesce(max(overtaken), 0) FROM tickets").fetchone()[0]
        for row in rows:
            if row.fence < self.fences.get(row.number, 0):
                raise Violation(f"fence of slot {row.number} fell to {row.fence}")
            self.fences[row.number] = row.fence
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
        began_s = max(self.handed_over_s, self.world.last_end_s, process.born_s, self.pausing.opened_s())
        waited_s = self.world.clock_s - began_s
        if self.plan.calm and not self.plan.remote and self.plan.slots == 1 and waited_s > FREED_WITHIN_SECONDS:
            raise Violation(f"{process.name} sat down {waited_s:.2f} s after the desk was left")

    def _lease_lives(self, process: Process, grant: Grant) -> None:
        """An heir has one renewal answered before its first call, so its lease is at the server then."""
        lease_id = _driver.execute('SELECT lease_id FROM slots WHERE "index" = ?', (grant.index,)).fetchone()[0]
        if not self.plan.jumps and not process.ever_stopped and lease_id not in self.server.leases:
            raise Violation(f"{process.name} calls under the lease {lease_id}, which the server does not know")

    def _slot_rows(self) -> list[SlotRow]:
        return [SlotRow(*row) for row in _driver.execute('SELECT "index", fence, state FROM slots').fetchall()]

    def _one_call_under_a_current_fence(self, process: Process) -> None:
        current = {(row.number, row.fence) for row in self._slot_rows() if row.state == "held"}
        live = [c for c in self.engine.running() if (c.slot, c.fence) in current and c.process is not process]
        if len(live) >= self.plan.slots:
            raise Violation(f"{process.name} calls while {live[0].process.name} is in a call under a current fence")
        if self.plan.calm and self.plan.slots == 1 and self.engine.running():
            raise Violation(f"{process.name} calls an engine that is not quiet")

    def _robbed(self, process: Process, turn: Turn) -> None:
        """A living holder inside its budget loses its seat only by what Prefect or a stop did."""
        if self.plan.calm and not self.plan.jumps:
            raise Violation(f"{process.name} was robbed inside its budget")

    def _all_are_accounted_for(self) -> None:
        lost = [p.name for p in self.world.processes if p.is_agent and (p.alive or p.fate == "running")]
        if lost:
            raise Violation(f"still waiting at the end: {', '.join(lost)}")

    def _cancels_leave_nothing_behind(self) -> None:
        """Who is cancelled, wherever, gives back what it had, at once; only the dead need a reaper."""
        if (
            self.plan.calm
            and not (self.plan.faults.kill or self.plan.jumps)
            and (self.server.leases or self.server.active_slots)
        ):
            raise Violation(f"leases are left although nobody died: {list(self.server.leases)}")

    def _come_to_rest(self) -> None:
        """A governor that nothing ever happens to clears up; leases that nobody renews run out.

        It looks until after the time that a stopped releaser is given: a pause may be stopped for longer than it runs.
        """
        self.world.faults.__init__()
        self.server.up = True

        self._govern(rounds=3, pause_seconds=RELEASING_SECONDS)
        self.world.run(self.world.clock_s + 100.0)
        self.world.run(self.world.clock_s + abs(self.world.wall_shift_s) + 10.0)

    def _govern(self, *, rounds: int, pause_seconds: float) -> None:
        """What `governor.tidying` and `governor.mirror` do for a line, some times."""

        def tidy(_process: Process) -> None:
            for _ in range(rounds):
                with suppress(StateUnavailable):
                    self._tidy()
                self.world.sleep(pause_seconds)

        governor = self.world.spawn("governor", tidy)
        governor.immune = True

    def _tidy(self) -> None:
        succession.bury_waiters(self.line, now=self.effects.now())
        for index in range(self.plan.slots):
            for change in (succession.pass_on, succession.reap):
                passed = change(self.line, index, now=self.effects.now(), clock_s=self.effects.clock_s())
                settle(self.line, self.limit, self.effects, passed)
        reclaim(self.line, self.limit, self.effects.now())

    def _books_balance(self) -> None:
        with _engine.connect() as db:
            slots = db.execute(select(SLOT.c.index.label("number"), SLOT.c.state)).all()
            tickets = db.execute(select(TICKET.c.id, TICKET.c.state, TICKET.c.agent)).all()
            db.rollback()
        busy = [f"slot {row.number} is {row.state}" for row in slots if row.state != "free"]
        open_ = [f"ticket {row.id} of {row.agent} is {row.state}" for row in tickets if row.state not in OVER]
        if busy or open_:
            raise Violation("; ".join((*busy, *open_)))
        if self.server.active_slots != len(self.server.leases) or self.server.leases:
            raise Violation(f"the limit counts {self.server.active_slots}, {len(self.server.leases)} leases are left")


class Lost(Exception):
    """The seat is not ours any more."""
