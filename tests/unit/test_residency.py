"""What happens around a resident model, on real rows with a fake card (invariants 14 to 23)."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import select

from governor.errors import DoesNotFit, ModelFailed
from governor.footprints import fittings
from governor.policy.facts import ModelSpec, Weights
from governor.processes import Identity, identify
from governor.profile import current_profile
from governor.residency import resident
from governor.resident_rows import claim_unload, held
from governor.settings import Home
from governor.state.models import Ticket
from governor.state.residents import Keeping, LearnedFootprint, Resident
from governor.state.sessions import reading, remember, transaction
from governor.unloading import STUCK_AGAIN, sweep, unload, unload_idle
from tests.fakes.card import FakeEngine, fake_card

CARD_MIB = 4000.0
# By model: what it takes without a context, and per 1,000 tokens of it; a smaller cache takes half of that.
TRUTH = {"big": (2000.0, 100.0), "other": (1900.0, 100.0), "small": (500.0, 50.0), "tiny": (300.0, 25.0)}


def truth_mib(spec: ModelSpec) -> float:
    base, per_thousand = TRUTH[spec.model]
    return base + per_thousand * spec.context_tokens / 1000 * (1.0 if spec.cache_type == "f16" else 0.5)


def spec(model: str, context_tokens: int = 4000, **fields: object) -> ModelSpec:
    fields = {"expected_mib": 1.25 * TRUTH[model][0], **fields}
    return ModelSpec.model_validate(
        {
            "engine": "fake",
            "model": model,
            "source": model,
            "line": "gpu",
            "context_tokens": context_tokens,
            "gpu_layers": -1,
            "parameters_billion": 1.0,
            **fields,
        }
    )


@pytest.fixture
def engine(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    monkeypatch.setenv("HOTDESK_PROFILE", "gpu-6gb")
    current_profile.cache_clear()
    with fake_card(monkeypatch, truth_mib, CARD_MIB) as made:
        yield made
    current_profile.cache_clear()


def ticket(agent: str = "a/b", *, process: Identity | None = None) -> int:
    """A ticket that sits at the desk, of this process or of another one."""
    row = Ticket(
        uuid=f"{agent}-{datetime.now(UTC).timestamp()}",
        line="gpu",
        agent=agent,
        state="seated",
        model="m",
        patience_seconds=1.0,
        taken_at=datetime.now(UTC),
    )
    row.identity = process or identify()
    with transaction() as session:
        session.add(row)
    return row.id


def use(wanted: ModelSpec) -> None:
    mine = ticket()
    try:
        with resident(wanted, mine):
            pass
    finally:
        with transaction() as session:
            session.get_one(Ticket, mine).state = "done"


def in_memory() -> list[str]:
    with reading() as session:
        wanted = select(Resident.model).where(Resident.state != "gone").order_by(Resident.model)
        return list(session.scalars(wanted))


def row_of(model: str) -> Resident:
    with reading() as session:
        wanted = select(Resident).where(Resident.model == model).order_by(Resident.id.desc()).limit(1)
        return session.scalars(wanted).one()


def test_a_model_is_loaded_once_and_found_again(engine: FakeEngine):
    use(spec("small"))
    use(spec("small"))
    assert engine.calls == [("load", "small")]
    assert row_of("small").memory_mib == pytest.approx(700)


def test_what_does_not_fit_beside_the_idle_makes_room_first(engine: FakeEngine):
    use(spec("big"))
    use(spec("other"))
    assert engine.calls == [("load", "big"), ("unload", "big"), ("load", "other")]
    assert in_memory() == ["other"]


def test_what_was_measured_after_the_first_use_is_learned(engine: FakeEngine):
    engine.first_use_mib = 60
    with resident(spec("small"), ticket()):
        engine.use("small")
    with reading() as session:
        learned = session.scalars(select(LearnedFootprint)).one()
    assert learned.place == "GPU-fake"
    assert learned.mean_mib == pytest.approx(760)
    assert fittings(spec("small"))[0].footprint.source == "learned"
    assert row_of("small").memory_mib == pytest.approx(760)


def test_beside_somebody_elses_memory_the_context_gets_smaller_until_it_fits(engine: FakeEngine):
    use(spec("big", 8000))
    assert unload_idle(row_of("big").id, reason="test")
    for context in (4096, 2048):  # the smaller ways are known too
        use(spec("big", context))
        assert unload_idle(row_of("big").id, reason="test")
    engine.card.take(1, 1200)  # 2800 are free and 400 must stay
    with resident(spec("big", 8000, least_context_tokens=1000), ticket()) as here:
        assert here.spec.context_tokens == 2048
    assert engine.card.lowest_free >= 400


def test_a_model_that_needs_all_of_its_context_is_refused_with_every_reason(engine: FakeEngine):
    use(spec("big", 8000))
    assert unload_idle(row_of("big").id, reason="test")
    engine.card.take(1, 2900)
    with pytest.raises(DoesNotFit) as refused:
        use(spec("big", 8000))
    assert len(refused.value.data["refusals"]) == 2, "in f16 and in q8_0"
    assert "at most 1100 can be free" in str(refused.value)
    assert in_memory() == []


def test_the_model_in_use_is_never_evicted_and_the_newcomer_waits_for_it(engine: FakeEngine):
    waits: list[float] = []
    somebody = identify(os.getppid())
    with resident(spec("big"), ticket("first", process=somebody)):

        def give_up_after_three(seconds: float) -> bool:
            waits.append(seconds)
            if len(waits) == 3:
                raise InterruptedError
            return True

        with pytest.raises(InterruptedError), resident(spec("other"), ticket("second"), wait=give_up_after_three):
            raise AssertionError("it came in beside a model that is in use")
        assert ("unload", "big") not in engine.calls
    use(spec("other"))
    assert in_memory() == ["other"]


def test_nobody_waits_for_a_model_of_its_own(engine: FakeEngine):
    with (
        resident(spec("big"), ticket("outer")),
        pytest.raises(DoesNotFit, match="in use by this very run"),
        resident(spec("other"), ticket("inner"), wait=lambda _seconds: True),
    ):
        raise AssertionError("there was no room for it")


def test_while_somebody_waits_for_room_nobody_younger_sits_down_there(engine: FakeEngine):
    """Else the small ones of another line would take turns in memory until the patience of the big one is over."""
    somebody, younger_waited = identify(os.getppid()), []

    def younger(_seconds: float) -> bool:
        younger_waited.append(True)
        raise InterruptedError

    def elder(_seconds: float) -> bool:
        with pytest.raises(InterruptedError), resident(spec("small"), ticket("younger"), wait=younger):
            raise AssertionError("it sat down before the one that waits")
        raise TimeoutError

    use(spec("small"))
    with resident(spec("big"), ticket("first", process=somebody)):
        mine = ticket("elder", process=somebody)
        with pytest.raises(TimeoutError), resident(spec("other"), mine, wait=elder):
            raise AssertionError("there was no room for it")
    assert younger_waited
    use(spec("small"))
    assert engine.calls.count(("load", "small")) == 1, "nobody waits any more"


def test_a_context_that_does_not_fit_leaves_the_smaller_one_where_it_is(engine: FakeEngine):
    use(spec("small", 2000))
    engine.card.take(1, 2900)
    with pytest.raises(DoesNotFit):
        use(spec("small", 20_000, expected_mib=1500))
    assert engine.calls == [("load", "small")]
    assert in_memory() == ["small"]


def test_a_pinned_model_is_not_replaced_by_itself(engine: FakeEngine):
    use(spec("small", 2000))
    with transaction() as session:
        session.add(Keeping(model="small", pinned=True))
    with pytest.raises(DoesNotFit, match="in memory with 2000 tokens, pinned"):
        use(spec("small", 8000))
    assert in_memory() == ["small"]


def test_the_same_model_at_a_second_slot_waits_and_is_not_loaded_anew(engine: FakeEngine):
    first = ExitStack()
    first.enter_context(resident(spec("small"), ticket("first", process=identify(os.getppid()))))

    def first_leaves(_seconds: float) -> bool:
        first.close()
        return True

    with resident(spec("small"), ticket("second"), wait=first_leaves):
        assert engine.calls == [("load", "small")]


def test_memory_that_comes_back_late_is_waited_for_before_the_context_gets_smaller(engine: FakeEngine):
    use(spec("big"))
    give_back, late = engine.card.give_back, 999_999_999

    def slowly(pid: int) -> None:
        held = engine.card.by_pid.get(pid, 0.0)
        give_back(pid)
        engine.card.by_pid[late] = 0.08 * held

    engine.card.give_back = slowly

    def comes_back(_seconds: float) -> bool:
        engine.card.by_pid.pop(late, None)
        return True

    engine.card.take(1, 900)
    with resident(spec("other", 4000, least_context_tokens=1000), ticket(), wait=comes_back) as here:
        assert here.spec.context_tokens == 4000


def test_a_model_that_is_just_being_unloaded_is_not_loaded_beside_that(engine: FakeEngine):
    use(spec("small"))
    with transaction() as session:
        row = session.get_one(Resident, row_of("small").id)
        claim_unload(row)

    def unloaded(_seconds: float) -> bool:
        assert unload(row, "test")
        return True

    with resident(spec("small"), ticket(), wait=unloaded):
        assert engine.calls == [("load", "small"), ("unload", "small"), ("load", "small")]


def test_what_is_stuck_under_a_name_is_not_asked_again_once_the_name_is_anothers(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("governor.unloading.BACK_SECONDS", 0.05)
    use(spec("small"))
    engine.gives_back = False
    assert unload_idle(row_of("small").id, reason="test") is False
    use(spec("small"))
    sweep(now=datetime.now(UTC) + STUCK_AGAIN)
    assert engine.calls.count(("unload", "small")) == 1
    assert "small" in engine.models
    assert in_memory() == ["small"]


def test_a_list_that_names_the_model_or_a_seat_keeps_its_row(engine: FakeEngine):
    use(spec("small"))
    assert sweep(now=datetime.now(UTC), ask_engines=True) == 0
    with resident(spec("small"), ticket()):
        engine.models.clear()
        assert sweep(now=datetime.now(UTC), ask_engines=True) == 0
    assert sweep(now=datetime.now(UTC), ask_engines=True) == 1


def test_pids_that_the_driver_does_not_know_are_no_spill_and_are_not_asked_for_again(engine: FakeEngine):
    real = engine.card.held_mib
    engine.card.held_mib = lambda pids: 0.0
    use(spec("big", expected_mib=2400))
    assert row_of("big").pids == []
    assert row_of("big").memory_mib == pytest.approx(2400)
    engine.card.held_mib = real
    use(spec("other"))
    assert in_memory() == ["other"]


@pytest.mark.parametrize("neighbour_mib", [900, -400])
def test_by_the_whole_card_a_neighbour_teaches_nothing(engine: FakeEngine, neighbour_mib: int):
    engine.card.says_pids = False
    engine.card.take(1, 500)
    with resident(spec("small", expected_mib=700), ticket()):
        engine.card.by_pid[1] += neighbour_mib
    assert row_of("small").memory_mib == pytest.approx(700)
    with reading() as session:
        assert session.scalars(select(LearnedFootprint)).all() == []


def test_an_unload_that_is_interrupted_leaves_the_others_idle(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    for model in ("small", "tiny"):
        use(spec(model))

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine, "unload", interrupted)
        with pytest.raises(KeyboardInterrupt):
            use(spec("big", expected_mib=3000))
    states = {model: row_of(model).state for model in ("small", "tiny")}
    assert sorted(states.values()) == ["resident", "unloading"]
    assert sweep(now=datetime.now(UTC)) == 1


def test_one_that_was_used_or_pinned_meanwhile_is_not_evicted_for_what_was_seen_before(engine: FakeEngine):
    use(spec("small"))
    row = row_of("small")
    assert row.last_used_at is not None
    before = row.last_used_at - timedelta(seconds=5)
    assert unload_idle(row.id, reason="test", unless_used_since=before) is False
    with transaction() as session:
        session.add(Keeping(model="small", pinned=True))
    assert unload_idle(row.id, reason="test", unless_used_since=row.last_used_at) is False
    assert unload_idle(row.id, reason="by hand") is True


def test_the_pinned_stays_and_the_refusal_names_it(engine: FakeEngine):
    use(spec("big"))
    with transaction() as session:
        session.add(Keeping(model="big", pinned=True))
    with pytest.raises(DoesNotFit, match=r"big \(2400 MiB, pinned\)"):
        use(spec("other"))
    assert in_memory() == ["big"]


def test_what_gives_nothing_back_is_marked_and_names_the_next_victim(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("governor.unloading.BACK_SECONDS", 0.05)
    for model in ("small", "tiny", "tiny2"):
        TRUTH.setdefault("tiny2", TRUTH["tiny"])
        use(spec(model))
    engine.gives_back = False
    assert unload_idle(row_of("small").id, reason="test") is False
    engine.gives_back = True
    stuck = row_of("small")
    assert stuck.state == "unloading"
    assert stuck.stuck_at is not None
    use(spec("big", expected_mib=2500))  # 700 + 400 + 400 are held, 2500 are free: the two others have to go
    assert in_memory() == ["big", "small"]


def test_what_was_stuck_is_closed_when_its_memory_is_back_at_last(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("governor.unloading.BACK_SECONDS", 0.05)
    use(spec("small"))
    engine.gives_back = False
    assert unload_idle(row_of("small").id, reason="test") is False
    now = datetime.now(UTC)
    assert sweep(now=now) == 0
    assert row_of("small").state == "unloading"
    assert sweep(now=now + STUCK_AGAIN) == 0, "asked once more, still nothing"
    assert engine.calls.count(("unload", "small")) == 2
    for pid in list(engine.card.by_pid):
        engine.card.give_back(pid)
    assert sweep(now=now) == 1
    assert row_of("small").state == "gone"


def test_where_the_driver_hides_processes_the_whole_is_measured(engine: FakeEngine):
    engine.card.says_pids = False
    use(spec("big"))
    assert row_of("big").memory_mib == pytest.approx(2400)
    use(spec("other"))
    assert in_memory() == ["other"]
    assert row_of("other").memory_mib == pytest.approx(2300)


def test_layers_left_on_the_cpu_count_as_does_not_fit(engine: FakeEngine):
    engine.on_card_share = 0.3
    engine.header = Weights(
        architecture="llama",
        file_mib=1800,
        embedding_mib=50,
        key_value_width=(256,) * 16,
        window_tokens=(0,) * 16,
        vocabulary=32000,
        trained_context=32768,
    )
    with pytest.raises(DoesNotFit, match="the rest stayed on the CPU"):
        use(spec("big"))
    assert in_memory() == []
    assert engine.card.by_pid == {}


def test_a_neighbour_that_takes_the_room_during_a_load_ends_it_before_the_card_is_full(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("governor.load_watch.LOOK_SECONDS", 0.0)
    engine.during_load = lambda: engine.card.take(1, 250)
    with pytest.raises(DoesNotFit, match="load was ended"):
        use(spec("big"))
    assert engine.card.overcommitted is False
    assert engine.models == {}
    assert in_memory() == []


def test_a_load_that_was_ended_keeps_its_row_until_its_memory_is_back(engine: FakeEngine):
    states: list[str] = []
    give_back = engine.card.give_back

    def slowly(pid: int) -> None:
        """The process is dead, its memory goes when somebody looks for the second time."""
        left = iter([700.0, 0.0])

        def held_mib(pids: Sequence[int]) -> float:
            states.append(row_of("small").state)
            return next(left)

        engine.card.held_mib = held_mib
        give_back(pid)

    engine.card.give_back = slowly
    pieces = count()

    def crowd() -> None:
        if next(pieces) == 1:  # the first piece was seen by the watch
            engine.card.take(1, engine.card.free_mib() or 0.0)

    engine.during_load = crowd
    with pytest.raises(ModelFailed):
        use(spec("small"))
    assert states == ["loading", "loading"]
    assert in_memory() == []


def test_a_healthy_load_on_a_card_that_it_just_fits_is_not_ended(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    use(spec("big"))
    assert unload_idle(row_of("big").id, reason="test")
    need = fittings(spec("big"))[0].need_mib
    engine.card.take(1, CARD_MIB - need - 400 - 1)
    monkeypatch.setattr("governor.load_watch.LOOK_SECONDS", 0.0)
    use(spec("big"))
    assert in_memory() == ["big"]


def test_an_engine_that_fails_leaves_no_row_behind(engine: FakeEngine):
    engine.during_load = lambda: engine.card.take(1, CARD_MIB)
    with pytest.raises(ModelFailed):
        use(spec("small"))
    assert in_memory() == []


def test_one_load_at_a_time_in_one_memory(engine: FakeEngine):
    asked: list[str] = []

    def second_agent() -> None:
        if not asked:
            asked.append("once")
            with pytest.raises(InterruptedError), resident(spec("tiny"), ticket("second"), wait=interrupted):
                raise AssertionError("two loads at once")

    def interrupted(_seconds: float) -> bool:
        raise InterruptedError

    engine.during_load = second_agent
    use(spec("small"))
    assert engine.calls == [("load", "small")]


def test_a_changed_context_waits_for_the_next_admission(engine: FakeEngine):
    use(spec("small", 4000))
    with resident(spec("small", 8000, least_context_tokens=3000), ticket()) as here:
        assert here.spec.context_tokens == 4000
    assert engine.calls == [("load", "small")]
    assert unload_idle(row_of("small").id, reason="test")
    with resident(spec("small", 8000, least_context_tokens=3000), ticket()) as here:
        assert here.spec.context_tokens == 8000


def test_work_that_needs_more_context_than_is_loaded_gets_it_and_there_is_one_of_each_model(engine: FakeEngine):
    use(spec("small", 2000))
    with resident(spec("small", 8000, least_context_tokens=5000), ticket()) as here:
        assert here.spec.context_tokens == 8000
    assert in_memory() == ["small"]


def test_a_server_that_dropped_its_model_by_itself_is_believed_at_the_governors_look(engine: FakeEngine):
    use(spec("small"))
    engine.card.give_back(engine.models.pop("small")[0])
    assert sweep(now=datetime.now(UTC)) == 0
    assert sweep(now=datetime.now(UTC), ask_engines=True) == 1
    assert in_memory() == []


def test_a_load_whose_agent_died_is_taken_out_of_the_engine(engine: FakeEngine):
    with transaction() as session:
        session.add(
            Resident(
                engine="fake",
                model="small",
                context_tokens=4000,
                line="gpu",
                memory="vram",
                memory_mib=700,
                claimed_by=None,
            )
        )
    assert sweep(now=datetime.now(UTC)) == 1
    assert engine.calls == [("unload", "small")]


def test_the_budget_of_the_folder_counts_too(engine: FakeEngine):
    remember("memory_budget_mib", "900")
    use(spec("small", expected_mib=500))
    use(spec("tiny", expected_mib=300))
    assert in_memory() == ["tiny"]


def test_the_policy_sees_what_the_row_knows(engine: FakeEngine):
    use(spec("small"))
    with reading() as session:
        seen = held(session, now=datetime.now(UTC) + timedelta(seconds=30))[0]
    assert (seen.memory, seen.busy, seen.stuck, seen.pinned) == ("vram", False, False, False)
    assert 29 < seen.idle_seconds < 60
