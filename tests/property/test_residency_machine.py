"""Residency on real rows, a fake card and a hostile neighbour: any order of events keeps the laws (14 to 23)."""

import itertools
import os
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import delete, select

from governor.errors import DoesNotFit
from governor.evicting import evict_idle
from governor.policy.facts import ModelSpec
from governor.policy.residency import FLOOR_MIB
from governor.policy.rules import Rules
from governor.processes import identify
from governor.profile import current_profile
from governor.residency import resident
from governor.settings import prepare_home
from governor.state.models import Ticket
from governor.state.residents import ExpectedUse, Keeping, Resident
from governor.state.sessions import reading, transaction
from governor.unloading import sweep, unload_idle
from tests.fakes.card import fake_card

CARD_MIB, NEIGHBOUR = 4000.0, 7
TRUTH = {"big": 2100.0, "other": 1900.0, "middle": 1100.0, "small": 500.0, "tiny": 250.0}
CONTEXTS = (2048, 4096, 8192)
SERIAL = itertools.count()


def truth_mib(spec: ModelSpec) -> float:
    return TRUTH[spec.model] + 0.05 * spec.context_tokens * (1.0 if spec.cache_type == "f16" else 0.53)


def spec_of(model: str, context_tokens: int, least: int) -> ModelSpec:
    return ModelSpec(
        engine="fake",
        model=model,
        source=model,
        line="gpu",
        context_tokens=context_tokens,
        gpu_layers=-1,
        parameters_billion=1.0,
        expected_mib=truth_mib(ModelSpec.model_construct(model=model, context_tokens=context_tokens, cache_type="f16")),
        least_context_tokens=least,
    )


class ResidencyMachine(RuleBasedStateMachine):
    """Seats that last over several steps, a neighbour, pins, evictions, engines that keep memory or drop a model."""

    @initialize()
    def begin(self) -> None:
        self.stack = ExitStack()
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("HOTDESK_HOME", self.stack.enter_context(tempfile.TemporaryDirectory()))
        patch.setenv("HOTDESK_PROFILE", "gpu-6gb")
        patch.setattr("governor.unloading.BACK_SECONDS", 0.0)
        patch.setattr("governor.admission.ADMISSION_SECONDS", 0.0)
        patch.setattr("governor.admission.ADMISSION_PAUSE_SECONDS", 0.0)
        patch.setattr("governor.load_watch.LOOK_SECONDS", 0.0)
        current_profile.cache_clear()
        prepare_home()
        self.engine = self.stack.enter_context(fake_card(patch, truth_mib, CARD_MIB))
        self.card = self.engine.card
        self.seats: dict[int, tuple[ExitStack, str]] = {}
        self.pinned: set[str] = set()
        self.stolen = False

    def teardown(self) -> None:
        for seat, _ in getattr(self, "seats", {}).values():
            seat.close()
        if hasattr(self, "stack"):
            self.stack.close()
        current_profile.cache_clear()

    @rule(
        model=st.sampled_from(sorted(TRUTH)),
        context=st.sampled_from(CONTEXTS),
        needs=st.sampled_from([0, 500, 2048]),
        neighbour_mib=st.sampled_from([0, 0, 0, 50, 500]),
    )
    def sit_down(self, model: str, context: int, needs: int, neighbour_mib: int) -> None:
        """A seat with a model; somebody else may take memory in the middle of its load."""
        mine = ticket()
        seat, free_first = ExitStack(), self.card.free_mib() or 0.0
        inside_before = {name for _, name in self.seats.values()}
        told = list(self.engine.calls)

        def steal() -> None:
            if neighbour_mib and (self.card.free_mib() or 0.0) > neighbour_mib:
                self.card.take(NEIGHBOUR, neighbour_mib / 8)
                self.stolen = True

        self.engine.during_load = steal
        try:
            here = seat.enter_context(resident(spec_of(model, context, needs), mine))
        except DoesNotFit:
            seat.close()
        else:
            assert here.spec.context_tokens >= min(needs or context, context)
            self.seats[mine] = (seat, model)
        finally:
            self.engine.during_load = lambda: None
        left = {name for what, name in self.engine.calls[len(told) :] if what == "unload"}
        assert not left & inside_before, "evicted while it was in use"
        assert not {name for name in left & self.pinned if name != model}, "evicted though pinned"
        if not self.stolen:
            assert (self.card.free_mib() or 0.0) >= min(FLOOR_MIB, free_first), "the floor was promised"

    @precondition(lambda self: self.seats)
    @rule(data=st.data())
    def stand_up(self, data: st.DataObject) -> None:
        mine = data.draw(st.sampled_from(sorted(self.seats)))
        self.seats.pop(mine)[0].close()
        end_ticket(mine)

    @rule(mib=st.sampled_from([100, 700, 1500]))
    def neighbour_takes(self, mib: int) -> None:
        if (self.card.free_mib() or 0.0) > mib:
            self.card.take(NEIGHBOUR, mib)

    @rule()
    def neighbour_gives_back(self) -> None:
        self.card.give_back(NEIGHBOUR)
        self.stolen = False

    @rule(model=st.sampled_from(sorted(TRUTH)), pinned=st.booleans())
    def pin(self, model: str, pinned: bool) -> None:
        with transaction() as session:
            session.merge(Keeping(model=model, pinned=pinned))
        (self.pinned.add if pinned else self.pinned.discard)(model)

    @rule(hours=st.sampled_from([0, 2]))
    def the_flow_evicts(self, hours: int) -> None:
        told = len(self.engine.calls)
        evict_idle(datetime.now(UTC) + timedelta(hours=hours), rules=Rules(keep_alive_seconds=60))
        left = {name for what, name in self.engine.calls[told:] if what == "unload"}
        assert not left & ({name for _, name in self.seats.values()} | self.pinned)

    @rule(model=st.sampled_from(sorted(TRUTH)))
    def by_hand(self, model: str) -> None:
        with reading() as session:
            row = session.scalars(select(Resident).where(Resident.model == model, Resident.state == "resident")).first()
        if row is not None:
            gone = unload_idle(row.id, reason="by hand")
            assert not (gone and model in {name for _, name in self.seats.values()})

    @rule(keeps=st.booleans())
    def engine_keeps_what_it_unloads(self, keeps: bool) -> None:
        self.engine.gives_back = not keeps

    @rule(model=st.sampled_from(sorted(TRUTH)))
    def server_drops(self, model: str) -> None:
        """A server unloads by rules of its own; never what is in use here: it was told to keep that."""
        if model in self.engine.models and model not in {name for _, name in self.seats.values()}:
            self.card.give_back(self.engine.models.pop(model)[0])
            sweep(now=datetime.now(UTC), ask_engines=True)

    @rule(model=st.sampled_from(sorted(TRUTH)), minutes=st.integers(1, 90))
    def foretell(self, model: str, minutes: int) -> None:
        with transaction() as session:
            session.execute(delete(ExpectedUse).where(ExpectedUse.model == model))
            session.add(ExpectedUse(at=datetime.now(UTC) + timedelta(minutes=minutes), agent="a/b", model=model))

    @invariant()
    def the_card_is_never_more_than_full(self) -> None:
        if hasattr(self, "card"):
            assert not self.card.overcommitted

    @invariant()
    def rows_and_engine_agree(self) -> None:
        """Who is resident by the rows is in the engine, once; who is in the engine has a row."""
        if not hasattr(self, "engine"):
            return
        with reading() as session:
            rows = session.scalars(select(Resident).where(Resident.state != "gone")).all()
        resident_rows = [row.model for row in rows if row.state == "resident"]
        assert len(resident_rows) == len(set(resident_rows))
        assert set(resident_rows) <= set(self.engine.models)
        assert set(self.engine.models) <= {row.model for row in rows}
        assert {name for _, name in self.seats.values()} <= set(resident_rows)


def ticket() -> int:
    row = Ticket(
        uuid=str(next(SERIAL)),
        line="gpu",
        agent="a/b",
        state="seated",
        model="m",
        patience_seconds=1.0,
        taken_at=datetime.now(UTC),
    )
    row.identity = identify(os.getppid())  # of another living process: nobody waits for itself here
    with transaction() as session:
        session.add(row)
    return row.id


def end_ticket(ticket_id: int) -> None:
    with transaction() as session:
        session.get_one(Ticket, ticket_id).state = "done"


TestResidency = ResidencyMachine.TestCase
TestResidency.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
