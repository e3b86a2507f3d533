"""The governor at work on real rows, with a fake card and a fake engine: who leaves, in which order, and what is left.

The senses are fakes too, but for the card's figures, which are read off the fake card like those of a real one.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from governor import succession
from governor.actions import pause_line
from governor.governing import Watch
from governor.line import Errand, Grant, Line
from governor.pauses import in_force
from governor.policy.facts import Reading, Rung
from governor.policy.ladder import Cooldown, Standing
from governor.policy.rules import Rules
from governor.presence import announce, judge
from governor.profile import current_profile
from governor.residency import resident
from governor.settings import Home
from governor.standing import keep, known_rules, standing
from governor.state.models import GovernorTick
from governor.state.residents import Keeping
from governor.state.sessions import reading, store, transaction
from governor.tick import govern_for
from tests.fakes.card import FakeEngine, fake_card
from tests.unit.test_residency import CARD_MIB, in_memory, spec, truth_mib, use

# What is in memory is used at the time of this machine, and idle since then.
# By day, whenever this runs: the marks of the night, from 23:00, are others. After all that other tests wrote.
NOW = (datetime.now(UTC) + timedelta(days=1)).replace(hour=12)
NEIGHBOUR = 1
AT_ONCE = Rules(cooldown=Cooldown(up_seconds=0, down_seconds=0))


@dataclass
class World:
    """FAKE senses on the fake card, and a clock that the test moves."""

    engine: FakeEngine
    at_s: float = 0.0
    blind: bool = False
    rules: Rules = AT_ONCE
    rows: list[GovernorTick] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = Watch("sentinel", self.sense, rules=self.rules)

    def sense(self, now: datetime, clock_s: float, costly: bool) -> list[Reading]:
        free = None if self.blind else self.engine.card.free_mib()
        others = self.engine.card.by_pid.get(NEIGHBOUR, 0.0)
        return [
            Reading(name="vram_free_mib", value=free, unit="MiB", why="blind" if self.blind else ""),
            Reading(name="vram_others_mib", value=None if self.blind else others, unit="MiB", why="blind"),
        ]

    def look(self, seconds: float = 1.0) -> GovernorTick:
        self.at_s += seconds
        row = self.watch.look(now=NOW + timedelta(seconds=self.at_s), clock_s=self.at_s)
        self.rows.append(row)
        return row

    def neighbour_leaves_free(self, mib: float) -> None:
        card = self.engine.card
        card.by_pid[NEIGHBOUR] = 0.0
        card.by_pid[NEIGHBOUR] = (card.free_mib() or 0.0) - mib


@pytest.fixture
def world(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("HOTDESK_PROFILE", "gpu-6gb")
    # Without a card the profile of this machine has no line whose models are in its memory.
    monkeypatch.setattr(pause_line, "lines_by_memory", lambda: {"vram": ("gpu",), "ram": ("cpu",)})
    current_profile.cache_clear()
    with fake_card(monkeypatch, truth_mib, CARD_MIB) as made:
        yield World(made)
    current_profile.cache_clear()


def seat() -> tuple[Line, int, Grant]:
    """This process at the desk, with a ticket and a slot as the line keeps them."""
    line = Line("gpu", store(), judge, announce)
    line.ensure_slots(1)
    clock_s = time.monotonic()
    mine = line.take(Errand("gpu", "digest/news", "big", 60.0), now=NOW, clock_s=clock_s)
    assert line.begin_asking(mine.id, 0, now=NOW, clock_s=clock_s)
    grant = line.grant(mine.id, 0, lease_id="l", budget_seconds=600, now=NOW, clock_s=clock_s)
    assert grant is not None
    return line, mine.id, grant


def paused() -> list[str]:
    with reading() as session:
        return [pause.line for pause in in_force(session, NOW)]


def test_gentle_first_and_only_the_last_rung_touches_who_sits(world: World):
    use(spec("tiny"))
    line, ticket_id, grant = seat()
    with ExitStack() as inside:
        inside.enter_context(resident(spec("small"), ticket_id))
        assert in_memory() == ["small", "tiny"]
        world.neighbour_leaves_free(50)
        climbed = []
        while world.look().rung != "force_evict" and len(world.rows) < 20:
            climbed.append((world.rows[-1].rung, in_memory(), line.is_current(grant), paused()))
            world.neighbour_leaves_free(50)
        assert climbed == [
            ("normal", ["small", "tiny"], True, []),
            ("trim", ["small", "tiny"], True, []),
            ("evict_idle", ["small"], True, []),
            ("pause_line", ["small"], True, ["gpu"]),
        ]
        assert in_memory() == []
        assert not line.is_current(grant)
    passed = succession.hand_over(line, ticket_id, grant, now=NOW, clock_s=time.monotonic())
    assert passed is not None and passed.release is not None  # it stands up by itself, and nobody is let in
    said = [action for row in world.rows for action in row.actions]
    assert any("evicted tiny" in what and "MiB" in what for what in said)
    assert any("ended digest/news with small" in what for what in said)


def test_calm_again_the_line_opens_and_the_ladder_is_left(world: World):
    with transaction() as session:
        keep(session, Standing(rung=Rung.FORCE_EVICT, reached={"vram": Rung.FORCE_EVICT}))
    pause_line.follow(standing(), ["vram"], "x", now=NOW)
    world.look()
    assert [row.rung for row in world.rows] == ["pause_line"]
    assert [world.look().rung for _ in range(3)] == ["evict_idle", "trim", "normal"]
    assert paused() == []
    assert standing().reached == {}


def test_a_pause_is_renewed_while_the_pressure_lasts_and_ends_by_itself_when_nobody_sees(world: World):
    world.neighbour_leaves_free(50)
    for _ in range(5):
        world.look(60)
    assert standing().rung is Rung.PAUSE_LINE
    world.look(60 * 14)
    with reading() as session:
        assert [p.line for p in in_force(session, NOW + timedelta(seconds=world.at_s + 14 * 60))] == ["gpu"]
    world.blind = True
    for _ in range(5):
        assert world.look(300).rung == "pause_line"  # unknown calms nothing
    with reading() as session:
        assert in_force(session, NOW + timedelta(seconds=world.at_s)) == []


def test_what_gave_nothing_back_names_the_next_one_at_once(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("governor.unloading.BACK_SECONDS", 0.05)
    for name in ("small", "tiny"):
        use(spec(name))
    world.watch.rules = Rules(cooldown=Cooldown(up_seconds=10))
    world.neighbour_leaves_free(50)
    world.engine.gives_back = False
    for _ in range(12):
        world.look()
    assert [call for call in world.engine.calls if call[0] == "unload"] == [("unload", "small")]
    world.engine.gives_back = True
    world.look()  # one second later, not ten
    assert world.engine.calls[-1] == ("unload", "tiny")


def test_a_pinned_model_stays_until_the_machine_itself_is_at_risk(world: World):
    use(spec("tiny"))
    with transaction() as session:
        session.add(Keeping(model="tiny", pinned=True))
    world.neighbour_leaves_free(50)
    while world.look().rung != "pause_line" and len(world.rows) < 20:
        assert in_memory() == ["tiny"]
    world.look()
    assert (standing().rung, in_memory()) == (Rung.FORCE_EVICT, [])


def test_what_fills_before_the_next_look_makes_room_at_once(world: World):
    use(spec("big"))
    world.neighbour_leaves_free(1200)
    world.look(1)
    for free in (900, 600):
        world.neighbour_leaves_free(free)
        row = world.look(0.1)
    assert (row.rung, in_memory()) == ("evict_idle", [])
    assert "will be at its end in" in row.reason


def test_it_was_better_when_looked_at_again(world: World):
    use(spec("tiny"))
    world.neighbour_leaves_free(50)
    for _ in range(2):
        world.look()
    sense = world.sense

    def sense_then_leave(now: datetime, clock_s: float, costly: bool) -> list[Reading]:
        seen = sense(now, clock_s, costly)
        world.neighbour_leaves_free(3000)
        return seen

    world.watch.senses = sense_then_leave
    row = world.look()
    assert in_memory() == ["tiny"]
    assert any("better when looked at again" in what for what in row.actions)


def test_a_model_used_meanwhile_is_left_alone(world: World):
    use(spec("tiny"))
    world.neighbour_leaves_free(50)
    for _ in range(2):
        world.look()
    use(spec("tiny"))
    with transaction() as session:  # as if that use was after the governor looked
        from governor.state.residents import Resident

        session.query(Resident).update({"last_used_at": NOW + timedelta(hours=1)})
    world.look()
    assert in_memory() == ["tiny"]


def test_a_dry_run_says_what_it_would_do_and_does_nothing(world: World):
    use(spec("tiny"))
    world.watch.rules = AT_ONCE.model_copy(update={"dry_run": True})
    with transaction() as session:
        keep(session, Standing(rung=Rung.TRIM, reached={"vram": Rung.TRIM}))
    world.neighbour_leaves_free(50)
    rows = [world.look() for _ in range(3)]
    assert rows[-1].actions[0] == "would move from trim to evict_idle for vram"
    assert rows[-1].actions[1].startswith("would evict tiny at 4000 tokens")
    assert (standing().rung, in_memory(), paused()) == (Rung.TRIM, ["tiny"], [])


def test_who_does_not_see_what_led_up_does_not_come_down(world: World):
    with transaction() as session:
        keep(session, Standing(rung=Rung.EVICT_IDLE, reached={"vram": Rung.EVICT_IDLE}, causes={"vram_slack_mib": ""}))
    assert [world.look(60).rung for _ in range(3)] == ["evict_idle"] * 3


def test_who_looks_for_the_first_time_takes_the_band_for_what_it_is(world: World):
    with transaction() as session:
        keep(session, Standing(rung=Rung.PAUSE_LINE, reached={"vram": Rung.PAUSE_LINE}, causes={"vram_free_mib": ""}))
    world.neighbour_leaves_free(300)
    assert [world.look(60).rung for _ in range(3)] == ["evict_idle"] * 3
    world.neighbour_leaves_free(500)
    assert [world.look(60).rung for _ in range(3)] == ["trim", "normal", "normal"]


def test_two_who_see_the_same_do_one_thing(world: World):
    for name in ("small", "tiny"):
        use(spec(name))
    world.watch.rules = Rules(cooldown=Cooldown(up_seconds=10))
    other = Watch("govern", world.sense, rules=world.watch.rules)
    with transaction() as session:
        keep(session, Standing(rung=Rung.TRIM, reached={"vram": Rung.TRIM}))
    world.neighbour_leaves_free(50)
    for _ in range(4):
        world.look()
        other.look(now=NOW + timedelta(seconds=world.at_s), clock_s=world.at_s)
    assert len(in_memory()) == 1


def test_on_the_rung_trim_the_next_admission_is_one_context_smaller_until_it_is_calm(world: World):
    wanted = spec("tiny", 4000, least_context_tokens=500)
    with transaction() as session:
        keep(session, Standing(rung=Rung.TRIM, reached={"vram": Rung.TRIM}))
    _, ticket_id, _ = seat()
    with resident(wanted, ticket_id) as here:
        assert 500 <= here.spec.context_tokens < 4000
    world.engine.unload(here.loaded, "tiny")
    with transaction() as session:
        keep(session, Standing())
    with resident(wanted, ticket_id) as here:
        assert here.spec.context_tokens == 4000


def test_the_flow_goes_on_looking_until_it_is_calm_and_writes_down_what_it_did(world: World):
    use(spec("tiny"))
    world.neighbour_leaves_free(50)
    rows = govern_for(
        60,
        rules=Rules(cooldown=Cooldown(up_seconds=1, down_seconds=1)),
        senses=world.sense,
        now=lambda: NOW + timedelta(seconds=world.at_s),
        clock_s=lambda: world.at_s,
        pause=lambda seconds: _pass(world, seconds),
    )
    rungs = [row.rung for row in rows]
    assert rungs == ["normal", "trim", "evict_idle", "trim", "normal"]
    assert in_memory() == []
    with reading() as session:
        assert [row.rung for row in session.query(GovernorTick).order_by(GovernorTick.id)] == rungs
    assert known_rules().cooldown.up_seconds == 1


def test_a_flow_that_never_sees_calm_ends_within_its_bound(world: World):
    world.neighbour_leaves_free(50)
    rows = govern_for(
        60,
        rules=AT_ONCE,
        senses=world.sense,
        now=lambda: NOW + timedelta(seconds=world.at_s),
        clock_s=lambda: world.at_s,
        pause=lambda seconds: _pass(world, seconds),
    )
    assert rows[-1].rung == "pause_line"
    assert 60 <= world.at_s <= 63


def _pass(world: World, seconds: float) -> None:
    """Time goes by; the neighbour leaves once the model did."""
    world.at_s += max(seconds, 0.01)
    if standing().rung is Rung.EVICT_IDLE and not in_memory() and world.engine.calls[-1:] == [("unload", "tiny")]:
        world.neighbour_leaves_free(2000)


@pytest.mark.parametrize(("cause", "again"), [("small", True), ("another", False)])
def test_a_model_that_is_unwell_is_loaded_anew_between_two_seats(world: World, cause: str, again: bool):
    use(spec("small"))
    with transaction() as session:
        stands = Standing(
            rung=Rung.EVICT_IDLE,
            moved_at=datetime.now(UTC) + timedelta(seconds=1),
            reached={"vram": Rung.EVICT_IDLE},
            causes={"speed_percent": cause},
        )
        keep(session, stands)
    use(spec("small"))
    loads = [call for call in world.engine.calls if call == ("load", "small")]
    assert len(loads) == (2 if again else 1)
    with transaction() as session:  # what was loaded since is well until it is found not to be
        keep(session, stands.model_copy(update={"moved_at": datetime.now(UTC) - timedelta(minutes=1)}))
    use(spec("small"))
    assert len([call for call in world.engine.calls if call == ("load", "small")]) == len(loads)
