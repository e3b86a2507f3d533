"""One schedule: some agents with errands and some trouble. What must hold whatever happened is `laws`.

Run `python -m tests.simulation --seeds N` for more, `--seed S` to replay one with its log.
"""

from contextlib import suppress

from governor import succession
from governor.errors import LeftLine, NotReady, StateUnavailable
from governor.giving_back import reclaim, settle
from governor.line import Errand, Line
from governor.policy.turns import RELEASING_SECONDS
from governor.state.sessions import Store
from governor.turn import Turn
from tests.simulation.batches import Batches
from tests.simulation.engine import Call, Engine
from tests.simulation.laws import Laws
from tests.simulation.pausing import Pausing
from tests.simulation.plan import plan_of
from tests.simulation.rows import DRIVER, ENGINE, set_up
from tests.simulation.server import Server, VirtualLimit
from tests.simulation.world import Cancelled, Faults, Process, Violation, VirtualEffects, World

HORIZON_SECONDS = 1500.0
QUIET_SECONDS = 0.5
# What is on its way to the server when the last agent ends arrives, and is answered or not.
SETTLE_SECONDS = 0.5
# Longer than all seats of a schedule together: who leaves after that was forgotten.
LONG_PATIENCE_SECONDS = 300.0
MODELS = ("7b", "tiny")


class Schedule:
    """Everything of one seed. `play` raises Violation with the seed in its message."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.world = World(seed, Faults())
        self.plan = plan_of(self.world)
        self.world.faults = self.plan.faults
        set_up(self.plan.slots, self.plan.rules)
        self.store = Store(ENGINE)
        self.server = Server(self.world, self.plan.slots, remote=self.plan.remote)
        self.limit = VirtualLimit(self.world, self.server)
        self.effects = VirtualEffects(self.world)
        self.line = Line("gpu", self.store, self.world.judge, lambda: self.world.me().identity)
        self.pausing = Pausing(self.world, self.line, self.limit, DRIVER, jumps=bool(self.plan.jumps), seed=seed)
        self.batches = Batches(self.line, seed=seed)
        self.engine = Engine(self.world)
        self.turns: dict[Process, Turn] = {}
        self.laws = Laws(
            self.world,
            self.plan,
            server=self.server,
            engine=self.engine,
            pausing=self.pausing,
            turns=self.turns,
        )

    def play(self) -> "Schedule":
        """Run it to the end and check what must hold."""
        try:
            with self.store.change("setup"):
                pass
            self._set_out()
            self.world.run(self.world.clock_s + HORIZON_SECONDS, self._all_went_home)
            self.world.run(self.world.clock_s + SETTLE_SECONDS)
            self.laws.all_are_accounted_for()
            self.laws.cancels_leave_nothing_behind()
            self._come_to_rest()
            self.laws.books_balance()
        except Violation as broken:
            raise Violation(f"seed {self.seed}: {broken}") from None
        finally:
            self.world.close()
        return self

    def _all_went_home(self) -> bool:
        world = self.world
        agents = [process for process in world.processes if process.is_agent]
        return len(agents) == self.plan.agents and not any(process.alive for process in agents)

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
        self.laws.one_call_under_a_current_fence(process)
        if first:
            self.laws.lease_lives(process, grant)
        if self.plan.by_hand and self.plan.slots == 1 and world.random.random() < 0.5:
            self._release_by_hand()
        call = Call(process, grant.fence, grant.index, world.clock_s + seconds)
        self.engine.calls.append(call)
        world.at("calling")
        world.sleep(seconds)
        self.engine.calls = [c for c in self.engine.calls if c is not call]
        if not turn.is_current():
            self.laws.robbed(process, turn)
            raise Lost

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


class Lost(Exception):
    """The seat is not ours any more."""
