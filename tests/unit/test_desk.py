"""Nested use of the desk: shared, in one direction, or refused at once (invariant 12)."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from governor import desk as desk_module
from governor.desk import Seat, desk
from governor.engines.protocol import Loaded
from governor.errors import Nested, SeatLost
from governor.line import Errand, Grant
from governor.policy.facts import ModelSpec

HEAVY = ModelSpec(
    engine="fake", model="7b", source="7b", line="gpu", context_tokens=4096, parameters_billion=7, expected_mib=5000
)
OTHER = HEAVY.model_copy(update={"model": "3b"})
TINY = HEAVY.model_copy(update={"model": "tiny", "line": "cpu"})


class FakeLine:
    def __init__(self, name: str) -> None:
        self.name = name


class FakeTurn:
    """Stands in for a turn that was had; `current` is what its fence says."""

    def __init__(self, line: str) -> None:
        self.line, self.current, self.is_mine = FakeLine(line), True, True
        self.grant = Grant(0, 7, "lease")

    def is_current(self) -> bool:
        return self.current


@contextmanager
def seated(spec: ModelSpec) -> Iterator[FakeTurn]:
    """This run sits at a desk already."""
    turn = FakeTurn(spec.line)
    seat = Seat(turn, Grant(0, 7, "lease"), 0.0, spec, spec, Loaded("http://x", None, None, None))  # type: ignore[arg-type]
    token = desk_module._seats.set((*desk_module._seats.get(), seat))
    try:
        yield turn
    finally:
        desk_module._seats.reset(token)


def errand(spec: ModelSpec) -> Errand:
    return Errand(spec.line, "digest/news", spec.model, 5.0)


def test_the_same_model_at_the_same_line_shares_the_seat():
    with seated(HEAVY), desk(HEAVY, errand(HEAVY)) as seat:
        assert seat.fence == 7


def test_a_shared_seat_that_was_lost_is_not_shared():
    with seated(HEAVY) as turn:
        turn.current = False
        with pytest.raises(SeatLost), desk(HEAVY, errand(HEAVY)):
            pass


@pytest.mark.parametrize(("held", "wanted"), [(HEAVY, OTHER), (TINY, HEAVY)])
def test_what_would_wait_for_itself_is_refused_at_once(held: ModelSpec, wanted: ModelSpec):
    with seated(held), pytest.raises(Nested, match="wait for itself"), desk(wanted, errand(wanted)):
        pass


def test_the_cpu_desk_may_be_asked_for_from_the_gpu_desk():
    with seated(HEAVY):
        assert desk_module._shared_seat(TINY, errand(TINY)) is None


def test_who_stood_up_sits_nowhere():
    with seated(HEAVY):
        pass
    assert desk_module._shared_seat(OTHER, errand(OTHER)) is None


def test_work_that_needs_another_share_of_the_context_shares_the_seat_while_that_is_enough():
    small = HEAVY.model_copy(update={"least_context_tokens": 300})
    with seated(small):
        larger = small.model_copy(update={"least_context_tokens": HEAVY.context_tokens})
        with desk(larger, errand(larger)) as seat:
            assert seat.spec == small
        too_large = small.model_copy(update={"least_context_tokens": HEAVY.context_tokens + 1})
        with pytest.raises(Nested), desk(too_large, errand(too_large)):
            raise AssertionError("it does not fit into what is loaded")
