"""The real line over a temporary SQLite file, driven by hypothesis: any order of transitions keeps its laws.

Laws: at most one seat per slot under a current fence; fences grow; served in ticket order among the awake
and living; nobody is robbed; no ticket is lost; a slot is free or somebody's (invariants 1-6).
"""

import itertools
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import select
from sqlalchemy.pool import NullPool

from governor import succession
from governor.line import Errand, Grant, Line, Place
from governor.policy.turns import Act
from governor.processes import Identity, Life
from governor.rows import IN_LINE, OVER, SLOT, TICKET
from governor.state.models import Base
from governor.state.sessions import Store, engine_for

NOW = datetime(2026, 11, 1, 7, 0, tzinfo=UTC)


class LineMachine(RuleBasedStateMachine):
    """Each ticket is a process of its own; `step` lets one of them do what the line tells it to."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = 1
        self._folder = tempfile.TemporaryDirectory()
        engine = engine_for(f"sqlite:///{Path(self._folder.name) / 'line.db'}", poolclass=NullPool, begin=False)
        Base.metadata.create_all(engine)
        self.store = Store(engine)
        self.clock_s = 1000.0
        self.pids = itertools.count(10)
        self.acting: Identity | None = None
        self.dead: set[Identity] = set()
        self.places: dict[Identity, Place] = {}
        self.seats: dict[Identity, Grant] = {}
        self.releasing: dict[Identity, list[succession.Passed]] = {}
        self.served: list[int] = []
        self.unruly: set[int] = set()
        self.fences: dict[int, int] = {}
        self.line = Line("gpu", self.store, self.judge, self.me)

    def me(self) -> Identity:
        assert self.acting is not None
        return self.acting

    def judge(self, process: Identity) -> Life:
        return Life.DEAD if process in self.dead else Life.ALIVE

    @property
    def times(self):
        return {"now": NOW, "clock_s": self.clock_s}

    @initialize(slots=st.sampled_from([1, 1, 2]))
    def begin(self, slots: int) -> None:
        self.slots = slots
        self.line.ensure_slots(slots)

    def living(self) -> list[Identity]:
        return [process for process in self.places if process not in self.dead]

    @rule()
    def take(self) -> None:
        self.acting = Identity("boot", "ns", next(self.pids), 1)
        self.places[self.acting] = self.line.take(Errand("gpu", "a/b", "m", 60.0), **self.times)

    @precondition(lambda self: self.living())
    @rule(data=st.data(), refused=st.booleans())
    def step(self, data: st.DataObject, refused: bool) -> None:
        """One waiter looks and does what it should."""
        self.acting = data.draw(st.sampled_from(self.living()))
        place = self.places[self.acting]
        step = self.line.look(place.id, **self.times).step
        match step.act:
            case Act.ASK:
                self._ask(place, step.index, refused)
            case Act.ACCEPT:
                grant = succession.accept(self.line, place.id, step.index, budget_seconds=30, **self.times)
                self._seat(place, grant)
            case Act.STIR:
                succession.stir(self.line, place.id)
            case Act.REAP:
                self._settle(succession.reap(self.line, step.index, **self.times))
            case Act.PASS_ON:
                self._settle(succession.pass_on(self.line, step.index, **self.times))
            case Act.ROUSE:
                self.unruly.update(succession.rouse(self.line, place.id, step.index, **self.times))
            case Act.REVOKE:
                self._revoke(step.index)
            case _:
                pass

    def _ask(self, place: Place, index: int, refused: bool) -> None:
        assert self.line.begin_asking(place.id, index, **self.times)
        if refused:
            self.line.withdraw(place.id, index, clock_s=self.clock_s)
            return
        self._seat(place, self.line.grant(place.id, index, lease_id="l", budget_seconds=30, **self.times))

    def _seat(self, place: Place, grant: Grant | None) -> None:
        assert grant is not None
        assert grant.fence > self.fences.get(grant.index, 0)
        self.seats[self.me()] = grant
        self.served.append(place.id)

    def _settle(self, passed: succession.Passed | None) -> None:
        if passed is not None and passed.release is not None:
            self.releasing.setdefault(self.me(), []).append(passed)

    def _revoke(self, index: int) -> None:
        victim = next((p for p, grant in self.seats.items() if grant.index == index and self._holds(grant)), None)
        assert victim is None or self.clock_s - self._slot(index).since_s > 30
        succession.revoke(self.line, index, clock_s=self.clock_s)

    @precondition(lambda self: any(p not in self.dead for p in self.seats))
    @rule(data=st.data())
    def rise(self, data: st.DataObject) -> None:
        self.acting = data.draw(st.sampled_from([p for p in self.seats if p not in self.dead]))
        self._settle(
            succession.hand_over(self.line, self.places[self.acting].id, self.seats.pop(self.acting), **self.times)
        )

    @precondition(lambda self: any(p not in self.dead for p in self.releasing))
    @rule(data=st.data())
    def finish_release(self, data: st.DataObject) -> None:
        self.acting = data.draw(st.sampled_from([p for p in self.releasing if p not in self.dead]))
        for passed in self.releasing.pop(self.acting):
            assert passed.release is not None
            self.line.finish_release(passed.release.index, passed.release.fence, **self.times)

    @precondition(lambda self: self.living())
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.acting = data.draw(st.sampled_from(self.living()))
        self._settle(succession.leave(self.line, self.places[self.acting].id, "cancelled", **self.times))

    @precondition(lambda self: self.living())
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        self.dead.add(data.draw(st.sampled_from(self.living())))

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.1, 11.0, 31.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock_s += seconds

    def _slot(self, index: int):
        with self.store.look() as db:
            return db.execute(select(SLOT.c.since_s, SLOT.c.fence, SLOT.c.state).where(SLOT.c.index == index)).one()

    def _holds(self, grant: Grant) -> bool:
        return self.line.is_current(grant)

    @invariant()
    def at_most_one_current_seat_per_slot(self) -> None:
        current = [grant.index for grant in self.seats.values() if self._holds(grant)]
        assert len(current) == len(set(current))

    @invariant()
    def fences_never_fall(self) -> None:
        with self.store.look() as db:
            rows = db.execute(select(SLOT.c.index.label("number"), SLOT.c.fence, SLOT.c.state, SLOT.c.ticket_id)).all()
        for row in rows:
            assert row.fence >= self.fences.get(row.number, 0)
            self.fences[row.number] = row.fence
            assert (row.ticket_id is None) or row.state != "free"

    @invariant()
    def a_living_seat_is_current_unless_it_overstayed(self) -> None:
        for process, grant in self.seats.items():
            if process not in self.dead and not self._holds(grant):
                assert self._slot(grant.index).fence > grant.fence  # only a revocation or its end does that

    @invariant()
    def tickets_that_never_slept_are_served_in_order(self) -> None:
        with self.store.look() as db:
            slept = set(db.scalars(select(TICKET.c.id).where(TICKET.c.asleep)))
        self.unruly |= slept
        orderly = [ticket for ticket in self.served if ticket not in self.unruly]
        # At two slots claims are in order, and one may take longer to sit down than the next.
        assert self.slots > 1 or orderly == sorted(orderly), (self.served, self.unruly)

    def teardown(self) -> None:
        """Everybody is dead: a governor finds every slot and closes every ticket."""
        self.acting = Identity("boot", "ns", 1, 1)
        self.dead = set(self.places)
        self.clock_s += 1000.0
        succession.bury_waiters(self.line, now=NOW)
        for index in range(self.slots):
            for change in (succession.pass_on, succession.reap):
                passed = change(self.line, index, **self.times)
                if passed.release is not None:
                    self.line.finish_release(passed.release.index, passed.release.fence, **self.times)
        with self.store.look() as db:
            assert set(db.scalars(select(SLOT.c.state))) <= {"free"}
            left = db.execute(select(TICKET.c.id, TICKET.c.state).where(TICKET.c.state.in_((*IN_LINE, "seated")))).all()
            assert left == [], left
            assert all(state in OVER for state in db.scalars(select(TICKET.c.state)))
        self._folder.cleanup()


LineMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, phases=[Phase.explicit, Phase.generate]
)
test_the_line_keeps_its_laws = LineMachine.TestCase
