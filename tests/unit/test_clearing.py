"""What a pause with --evict does to the models of its lines, on real rows with a fake card."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from governor import pauses
from governor.clearing import clear_lines
from governor.errors import NotReady
from governor.evicting import evict_idle
from governor.policy.pausing import GOVERNOR, PERSON
from governor.policy.rules import Rules
from governor.profile import current_profile
from governor.residency import resident
from governor.resident_rows import held
from governor.settings import Home
from governor.state.residents import Keeping
from governor.state.sessions import reading, transaction
from tests.fakes.card import FakeEngine, fake_card
from tests.unit.test_residency import in_memory, row_of, spec, ticket, truth_mib, use


@pytest.fixture
def engine(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    monkeypatch.setenv("HOTDESK_PROFILE", "gpu-6gb")
    current_profile.cache_clear()
    with fake_card(monkeypatch, truth_mib, 6000.0) as made:
        yield made
    current_profile.cache_clear()


def pause(*, by: str = PERSON, evict: bool = True, line: str = "gpu") -> None:
    now = datetime.now(UTC)
    until = now + timedelta(minutes=15) if by == GOVERNOR else None
    pauses.pause([line], by=by, reason="a game", until=until, evict=evict, now=now)


def clear() -> list[str]:
    now = datetime.now(UTC)
    with reading() as session:
        return clear_lines(pauses.in_force(session, now), now=now)


def pin(model: str) -> None:
    with transaction() as session:
        session.add(Keeping(model=model, pinned=True))


def test_idle_models_leave_at_once_and_what_is_free_then_is_measured(engine: FakeEngine):
    use(spec("small"))
    use(spec("big"))
    pause()
    said = clear()
    assert in_memory() == []
    assert said[:2] == ["small (700 MiB) left memory.", "big (2400 MiB) left memory."]
    assert "vram: 6000 MiB are free now." in said
    assert row_of("big").reason == "the gpu line is paused by a person"


def test_a_model_in_use_stays_for_its_seat_and_leaves_at_its_end(engine: FakeEngine):
    with resident(spec("small"), ticket()):
        pause()
        assert clear()[0] == "small (700 MiB) is in use; it leaves when its seat ends."
        assert in_memory() == ["small"]
    assert in_memory() == []
    assert engine.card.free_mib() == 6000.0


@pytest.mark.parametrize(("by", "stays"), [(PERSON, []), (GOVERNOR, ["small"])])
def test_a_pin_counts_for_the_governor_and_not_for_a_person(engine: FakeEngine, by: str, stays: list[str]):
    use(spec("small"))
    pin("small")
    pause(by=by)
    clear()
    assert in_memory() == stays


@pytest.mark.parametrize("pinned", [False, True])
def test_at_the_end_of_a_seat_the_same_pin_counts(engine: FakeEngine, pinned: bool):
    if pinned:
        pin("small")
    with resident(spec("small"), ticket()):
        pause(by=GOVERNOR)
    assert in_memory() == (["small"] if pinned else [])


def test_a_pause_without_evict_or_of_another_line_or_one_that_is_over_sends_nothing_away(engine: FakeEngine):
    with resident(spec("small"), ticket()):
        pause(evict=False)
    with resident(spec("small"), ticket("c/d")):
        pause(line="cpu")
    assert in_memory() == ["small"]
    with resident(spec("small"), ticket("e/f")):
        pause()
        pauses.resume(["gpu"], by=PERSON, now=datetime.now(UTC))
    assert in_memory() == ["small"]


def test_an_engine_that_cannot_be_told_spoils_no_seat_and_is_named(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    def silent(loaded: object, model: str) -> bool:
        raise NotReady("The engine does not answer.", remedy="Start it.")

    monkeypatch.setattr(engine, "unload", silent)
    with resident(spec("small"), ticket()):
        pause()
    assert clear()[0].startswith("small (700 MiB) is on its way out, or could not be told to leave")


def test_what_gives_nothing_back_is_said_to_stay(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("governor.unloading.BACK_SECONDS", 0.05)
    use(spec("small"))
    engine.gives_back = False
    pause()
    assert "gave nothing back yet" in clear()[0]


def test_nothing_in_memory_is_said_too(engine: FakeEngine):
    pause()
    assert clear()[0] == "No model of gpu is in memory."


def test_models_of_other_lines_stay(engine: FakeEngine):
    use(spec("tiny", line="cpu"))
    use(spec("tiny", line="gpu"))
    pause()
    clear()
    assert in_memory() == ["tiny"]
    with reading() as session:
        assert [model.line for model in held(session, now=datetime.now(UTC))] == ["cpu"]


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_a_killed_user_left_behind_leaves_at_the_next_look(engine: FakeEngine, dry_run: bool):
    use(spec("small"))
    pause()
    evict_idle(datetime.now(UTC), rules=Rules(dry_run=dry_run))
    assert in_memory() == (["small"] if dry_run else [])
