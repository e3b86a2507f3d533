"""What a slot in `releasing` leaves to do, in which order, and what is rather left to the server (invariant 7)."""

from datetime import UTC, datetime, timedelta

import pytest

from governor.errors import StateUnavailable
from governor.giving_back import AGAIN_SECONDS, INSIST_SECONDS, give_back, insist
from governor.succession import Release

NOW = datetime(2026, 11, 1, 7, 0, tzinfo=UTC)


class Play:
    """Stands in for effects, limit and line; keeps what was done, in order."""

    def __init__(self, *leases: tuple[str, str]) -> None:
        self.done: list[str] = []
        self.name, self._leases, self._clock_s = "gpu", list(leases), 0.0

    def now(self) -> datetime:
        return NOW

    def clock_s(self) -> float:
        return self._clock_s

    def pause(self, seconds: float) -> None:
        self._clock_s += seconds
        self.done.append(f"pause {seconds}")

    def ring(self, ticket_ids) -> None:
        self.done.append(f"ring {list(ticket_ids)}")

    def leases(self) -> list[tuple[str, str]]:
        return self._leases

    def release(self, lease_id: str) -> bool:
        self.done.append(f"release {lease_id}")
        return True

    def finish_release(self, index: int, fence: int, *, now: datetime, clock_s: float) -> list[int]:
        self.done.append(f"free {index} under {fence}")
        return [5]


def played(release: Release, *leases: tuple[str, str]) -> list[str]:
    play = Play(*leases)
    give_back(play, play, play, release)  # type: ignore[arg-type]
    return play.done


def slot(lease_id: str | None, *, uuid: str | None = None, again: bool = False, age_seconds: float = 5.0) -> Release:
    return Release(0, 7, lease_id, uuid, again, NOW - timedelta(seconds=age_seconds))


def test_the_lease_goes_back_then_the_slot_is_free_then_the_head_is_rung():
    assert played(slot("l")) == ["release l", "free 0 under 7", "ring [5]"]


def test_after_a_releaser_that_died_its_own_request_is_given_time():
    assert played(slot("l", again=True))[:2] == [f"pause {AGAIN_SECONDS}", "release l"]


@pytest.mark.parametrize("age_seconds", [51.0, 3600.0])
def test_a_lease_that_may_have_run_out_is_left_to_the_server(age_seconds: float):
    assert played(slot("l", age_seconds=age_seconds)) == ["free 0 under 7", "ring [5]"]


def test_the_lease_of_one_that_died_asking_is_looked_up_by_its_ticket():
    assert played(slot(None, uuid="u"), ("other", "v"), ("mine", "u"))[0] == "release mine"
    assert played(slot(None, uuid="u"), ("other", "v"))[0] == "free 0 under 7"


def test_insisting_ends_and_says_why():
    play = Play()

    def fail() -> None:
        raise StateUnavailable("The disk is full.", remedy="Free some space.")

    with pytest.raises(StateUnavailable, match="full"):
        insist(play, fail)  # type: ignore[arg-type]
    assert play.clock_s() >= INSIST_SECONDS
