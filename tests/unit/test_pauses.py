"""A paused line gives nobody a seat, robs nobody of one, and opens again in its old order (invariants 1, 6, 8, 9)."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from governor import failpoints, pauses, succession
from governor.bells import Bell
from governor.effects import RealEffects
from governor.errors import LeftLine, NotReady, StateUnavailable
from governor.limit import Renewed
from governor.line import Errand, Place
from governor.policy.pausing import GOVERNOR, PERSON, Pause, counting, in_words, is_in_vain, opens_in_seconds
from governor.policy.turns import Act
from governor.processes import Identity
from governor.settings import Home
from governor.state.models import Slot
from governor.state.sessions import reading
from governor.turn import Turn
from tests.unit.test_line import DEAD, Clock, kill, own, slot, ticket

NOW = datetime(2026, 11, 1, 13, 2, tzinfo=UTC)
LONG = 20.0


class FakeLimit:
    """FAKE: keeps what was given back; `fails` is raised instead, as without a server."""

    def __init__(self, fails: NotReady | None = None) -> None:
        self.released: list[str] = []
        self.when_asked: Callable[[], None] = lambda: None
        self._fails = fails

    def release(self, lease_id: str) -> bool:
        if self._fails is not None:
            raise self._fails
        self.released.append(lease_id)
        return True

    def prepare(self) -> None:
        return None

    def check(self, slots: int) -> None:
        return None

    def ask(self, ticket_uuid: str) -> str | None:
        self.when_asked()
        return "l"

    def renew(self, lease_id: str) -> Renewed:
        return Renewed.ALIVE

    def find(self, ticket_uuid: str) -> str | None:
        return None

    def leases(self) -> list[tuple[str, str]]:
        return []


class FakeEffects(RealEffects):
    """FAKE: its clock is the test's, and a wait is over at once."""

    def __init__(self, home: Home, clock: Clock) -> None:
        super().__init__(home.bells)
        self._clock, self.rung = clock, []

    def now(self) -> datetime:
        return self._clock.times["now"]

    def clock_s(self) -> float:
        return self._clock.s

    def ring(self, ticket_ids: Sequence[int]) -> None:
        self.rung += ticket_ids

    @contextmanager
    def bell(self, ticket_id: int) -> Iterator["FakeEffects"]:
        yield self

    def wait(self, watch: Sequence[Identity], seconds: float) -> None:
        self._clock.s += seconds


class Room(Clock):
    """A line, its limit, and somebody who pauses it."""

    def __init__(self, home: Home) -> None:
        super().__init__()
        self.limit, self.effects = FakeLimit(), FakeEffects(home, self)

    def pause(self, *, by: str = PERSON, seconds: float | None = None, reason: str = "a game") -> None:
        now = self.times["now"]
        until = None if seconds is None else now + timedelta(seconds=seconds)
        asked = Pause("gpu", by, now, until, reason)
        pauses.close_line(self.line, self.effects, asked, lambda: nullcontext(self.limit))

    def resume(self, by: str = PERSON) -> bool:
        return pauses.open_line(self.line, self.effects, by=by, now=self.times["now"])

    def turn(self, patience_seconds: float) -> Turn:
        errand = Errand("gpu", "digest/news", "7b", patience_seconds)
        turn = Turn(self.line, self.limit, self.effects, errand, slots=1, budget_seconds=60)
        turn.take()
        return turn

    def act(self, place: Place) -> Act:
        return self.see(place).step.act


class Killed(BaseException):
    """SIGKILL: nothing more is done."""


@contextmanager
def at(point: str, error: BaseException) -> Iterator[None]:
    """What happens at that failpoint."""

    def strike(name: str) -> None:
        if name == point:
            raise error

    failpoints.install(strike)
    try:
        yield
    finally:
        failpoints.install(None)


@pytest.fixture
def room(hotdesk_home: Home) -> Room:
    return Room(hotdesk_home)


def test_in_a_paused_line_nobody_is_next_until_it_is_resumed(room: Room):
    head = room.take()
    room.pause()
    assert room.act(head) is Act.WAIT
    assert not room.line.begin_asking(head.id, 0, **room.times)
    assert room.resume()
    assert room.effects.rung[-1:] == [head.id]
    assert room.act(head) is Act.ASK


def test_who_sits_keeps_the_seat_and_its_lease_is_released_when_it_stands_up(room: Room):
    holder, heir = room.take(), room.take()
    grant = room.sit(holder)
    room.pause()
    assert room.line.is_current(grant)
    passed = room.rise(holder, grant)
    assert passed is not None and passed.release is not None and passed.release.lease_id == grant.lease_id
    room.release(passed)
    assert (ticket(heir).state, slot().state, room.act(heir)) == ("waiting", "free", Act.WAIT)


def test_an_offer_is_withdrawn_and_its_heir_waits_awake_at_its_place(room: Room):
    holder, heir, _ = room.take(), room.take(), room.take()
    room.rise(holder, room.sit(holder))
    room.pause()
    assert room.accept(heir) is None
    assert (room.limit.released, slot().state, slot().ticket_id) == ([f"lease-{holder.id}"], "free", None)
    assert (ticket(heir).state, ticket(heir).asleep, room.see(heir).place) == ("waiting", False, 1)
    room.resume()
    assert room.act(heir) is Act.ASK


def test_whoever_dies_over_a_withdrawn_offer_takes_no_ticket_along(room: Room):
    holder, heir = room.take(), room.take()
    room.rise(holder, room.sit(holder))
    with at("release.begin", Killed()), pytest.raises(Killed):
        room.pause(by=GOVERNOR, seconds=600)
    own(Slot, ("gpu", 0), DEAD)
    passed = succession.reap(room.line, 0, **room.times)
    assert passed.release is not None and passed.release.again
    room.release(passed)
    assert (ticket(heir).state, slot().state) == ("waiting", "free")


def test_an_answer_that_comes_after_the_pause_is_given_back_and_the_place_kept(room: Room):
    turn = room.turn(patience_seconds=LONG)
    behind = room.take()
    room.limit.when_asked = lambda: room.pause(by=GOVERNOR, seconds=600)
    with pytest.raises(LeftLine):
        turn.wait()
    assert room.limit.released == ["l"]
    assert (slot().state, slot().fence) == ("free", 0)
    assert room.see(behind).place == 1


def test_whoever_dies_over_an_answer_that_came_too_late_is_followed_under_the_next_fence(room: Room):
    turn = room.turn(patience_seconds=LONG)
    room.limit.when_asked = lambda: room.pause(by=GOVERNOR, seconds=600)
    with at("release.begin", Killed()), pytest.raises(Killed):
        turn.wait()
    own(Slot, ("gpu", 0), DEAD)
    passed = succession.reap(room.line, 0, **room.times)
    assert passed.release is not None and passed.release.again
    assert (passed.release.lease_id, passed.release.fence) == ("l", 1)
    room.release(passed)
    assert turn.place is not None
    assert (ticket(turn.place).state, slot().state) == ("waiting", "free")


def test_the_slot_of_the_dead_is_still_cleared_and_offered_to_nobody(room: Room):
    holder, heir = room.take(), room.take()
    grant = room.sit(holder)
    room.pause()
    kill(holder)
    assert room.act(heir) is Act.REAP
    passed = succession.reap(room.line, 0, **room.times)
    assert passed.release is not None and passed.release.lease_id == grant.lease_id


def test_a_holder_past_its_budget_is_still_revoked(room: Room):
    holder, heir = room.take(), room.take()
    room.sit(holder)
    room.pause()
    room.s += 61
    assert room.act(heir) is Act.REVOKE


def test_nobody_is_roused_for_a_free_slot_of_a_paused_line(room: Room):
    sleeper = room.take()
    room.s += 5
    awake = room.take()
    room.pause()
    assert room.act(awake) is Act.WAIT
    assert succession.rouse(room.line, awake.id, 0, **room.times) == ()
    assert not ticket(sleeper).asleep
    assert not room.see(awake).quiet


def test_a_pause_whose_time_is_over_closes_nothing(room: Room):
    head = room.take()
    room.pause(seconds=10)
    assert room.act(head) is Act.WAIT
    room.s += 10
    assert (room.act(head), room.see(head).paused) == (Act.ASK, "")
    assert not room.resume()


def test_other_lines_stay_open(room: Room):
    pauses.pause(["cpu"], by=PERSON, reason="a game", until=None, now=NOW)
    assert room.act(room.take()) is Act.ASK


def test_the_governor_ends_its_own_pause_only_and_a_person_ends_both(room: Room):
    head = room.take()
    room.pause(by=PERSON)
    room.pause(by=GOVERNOR, seconds=900, reason="vram is full")
    assert not room.resume(GOVERNOR)
    assert "by a person" in room.see(head).paused
    room.pause(by=GOVERNOR, seconds=900, reason="vram is full")
    assert room.resume(PERSON)
    assert room.act(head) is Act.ASK
    assert not room.resume(GOVERNOR)


def test_a_line_stays_closed_while_the_governors_pause_outlasts_a_persons(room: Room):
    head = room.take()
    room.pause(by=GOVERNOR, seconds=900, reason="vram is full")
    room.pause(by=PERSON, seconds=5)
    room.s += 5
    assert "by the governor: vram is full" in room.see(head).paused
    assert room.resume(GOVERNOR)


def test_a_second_pause_by_the_same_replaces_what_was_said_and_keeps_its_beginning(room: Room):
    room.pause(seconds=60)
    began = room.times["now"]
    room.s += 30
    room.pause(reason="a film")
    with reading() as session:
        [stands] = pauses.in_force(session, room.times["now"])
    assert (stands.since, stands.until, stands.reason) == (began, None, "a film")


def test_a_person_wakes_the_whole_line_and_the_governor_nobody(room: Room):
    places = [room.take() for _ in range(4)]
    room.pause(by=GOVERNOR, seconds=60)
    assert room.effects.rung == []
    room.pause(by=PERSON)
    assert room.effects.rung == [place.id for place in places]


@pytest.mark.parametrize(("seconds", "until"), [(None, ", with no end set"), (600.0, "")])
def test_who_would_wait_in_vain_leaves_at_once_and_says_why(room: Room, seconds: float | None, until: str):
    turn = room.turn(patience_seconds=300)
    room.pause(seconds=seconds)
    began_s = room.s
    with pytest.raises(LeftLine, match=f"by a person{until}: a game") as left:
        turn.wait()
    assert room.s == began_s
    assert "the gpu line is paused since" in left.value.data["paused"]
    assert left.value.remedy.startswith("`hotdesk resume`")
    assert turn.place is not None
    assert "a game" in (ticket(turn.place).reason or "")


@pytest.mark.parametrize(("by", "seconds"), [(PERSON, 200.0), (GOVERNOR, 900.0)])
def test_who_may_see_the_line_open_waits_within_its_patience(room: Room, by: str, seconds: float):
    turn = room.turn(patience_seconds=300)
    room.pause(by=by, seconds=seconds)
    if by == PERSON:
        turn.wait()
        assert 300 <= room.s < 302
        return
    with pytest.raises(LeftLine, match="its patience ran out, and the gpu line is paused") as left:
        turn.wait()
    assert "by the governor: a game" in left.value.happened
    assert room.s >= 400


def test_the_real_pause_and_resume_ring_real_bells(hotdesk_home: Home):
    desk = Clock()
    head = desk.take()
    bell = Bell(hotdesk_home.bells, head.id)
    pauses.pause(["gpu"], by=PERSON, reason="a game", until=None, now=NOW)
    assert _rang(bell)
    assert not _rang(bell)
    assert pauses.resume(["gpu", "cpu"], by=PERSON, now=NOW) == ["gpu"]
    assert _rang(bell)
    bell.close()


def _rang(bell: Bell) -> bool:
    """Whether a wait is over before its time; a bell that rang is heard at once."""
    started = time.monotonic()
    bell.wait((), 0.2)
    return time.monotonic() - started < 0.15


def test_without_a_server_the_line_is_paused_all_the_same(room: Room):
    holder, heir = room.take(), room.take()
    room.rise(holder, room.sit(holder))
    room.limit = FakeLimit(NotReady("No Prefect server is configured.", remedy="Start one."))
    room.pause()
    assert (slot().state, ticket(heir).state) == ("free", "waiting")
    assert "a game" in room.see(heir).paused


def test_a_pause_that_cannot_be_written_is_an_error_also_where_one_is_in_force(room: Room):
    room.pause(reason="a film")

    full = StateUnavailable("The disk is full.", remedy="Free some space.")
    with at("pause.commit", full), pytest.raises(StateUnavailable):
        room.pause(reason="a game")
    assert "a film" in room.see(room.take()).paused


def pause_of(**fields: Any) -> Pause:
    known: dict[str, Any] = {"line": "gpu", "by": PERSON, "since": NOW, "until": None, "reason": "a game"}
    return Pause(**{**known, **fields})


SOON, LATER = NOW + timedelta(minutes=5), NOW + timedelta(hours=2)


@pytest.mark.parametrize(
    ("stand", "seconds"),
    [
        ([], 0.0),
        ([pause_of()], math.inf),
        ([pause_of(until=SOON)], 300.0),
        ([pause_of(by=GOVERNOR, until=LATER)], 0.0),
        ([pause_of(by=GOVERNOR, until=LATER), pause_of(until=SOON)], 300.0),
        ([pause_of(until=NOW)], 0.0),
    ],
)
def test_how_long_a_line_stays_closed_at_least(stand: list[Pause], seconds: float):
    assert opens_in_seconds(counting(stand, NOW), NOW) == seconds


@pytest.mark.parametrize(
    ("opens", "patience", "vain"), [(0, 0, False), (10, 10, False), (10.1, 10, True), (math.inf, 9e9, True)]
)
def test_waiting_is_in_vain_when_patience_ends_first(opens: float, patience: float, vain: bool):
    assert is_in_vain(opens, patience) is vain


@pytest.mark.parametrize(
    ("stands", "words"),
    [
        (pause_of(until=LATER), "the gpu line is paused since 13:02 UTC until 15:02 UTC by a person: a game"),
        (pause_of(), "the gpu line is paused since 13:02 UTC by a person, with no end set: a game"),
        (
            pause_of(by=GOVERNOR, until=LATER, reason="vram_free_mib is low"),
            "the gpu line is paused since 13:02 UTC by the governor: vram_free_mib is low",
        ),
        (
            pause_of(since=NOW - timedelta(days=1), until=NOW + timedelta(days=1)),
            "the gpu line is paused since 2026-10-31 13:02 UTC until 2026-11-02 13:02 UTC by a person: a game",
        ),
    ],
)
def test_a_pause_is_told_with_its_times_and_its_reason(stands: Pause, words: str):
    assert in_words(stands, NOW) == words
