"""Four acts on real processes, timed on screen: eviction, a crash at the desk, a skipped turn, one rung.

Uses the real desk, limits and engine with the shipped weights, and puts everything back afterwards.
The processes that hold the desk are `deployments.tour_hold`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select

from deployments.screen import Screen
from deployments.tour_hold import Held, holding
from governor import line
from governor.desk import desk
from governor.errors import HotdeskError, LeftLine, NotReady
from governor.footprints import fittings
from governor.policy.facts import ModelSpec, Rung
from governor.policy.ladder import Cooldown
from governor.policy.pressure import PERSISTENCE, Mark
from governor.policy.rules import Rules
from governor.processes import Identity, Life, life
from governor.profile import current_profile
from governor.resident_rows import engines_in_memory
from governor.sensors import host
from governor.standing import RUNG_KEY, STANDING_KEY, current_rung
from governor.state.models import Slot, Ticket
from governor.state.residents import Resident
from governor.state.sessions import reading, recall, remember
from governor.tick import SEEN_KEY, tick
from governor.tier_models import shipped_spec
from governor.unloading import unload_idle

BUDGET_KEY, SAVED_KEY = "memory_budget_mib", "tour_saved_budget"
# Two contexts of the same weights make two residents; both are smaller than any agent's.
SMALL_CONTEXT, OTHER_CONTEXT = 512, 1024
# Room for one model as it is expected, and a fifth: the second cannot come in beside the first.
BUDGET_IN_MODELS = 1.2
# More memory than there is would have to be free: any real reading counts as pressure. Less than none: as calm.
# Neither leads beyond the first rung, which touches nothing that is in memory.
ALWAYS_EXCEEDED = Mark(
    reading="host_available_percent", high=101.0, low=102.0, rising_is_bad=False, memory="ram", most=Rung.TRIM
)
NEVER_EXCEEDED = ALWAYS_EXCEEDED.model_copy(update={"high": -2.0, "low": -1.0})
# The audience does not wait: every look may move.
AT_ONCE = Cooldown(up_seconds=0, down_seconds=0)
PATIENCE_SECONDS = 60.0
SHORT_PATIENCE_SECONDS = 2.0
AGENT = "tour"


@dataclass(frozen=True)
class Act:
    """One act as it went: `shown` is False when it could not be shown, with the reason in `said`."""

    title: str
    seconds: float
    shown: bool
    said: str


def run_tour(screen: Screen) -> list[Act]:
    """Play all acts in order, each to its end even if one before could not be shown."""
    restore_budget()
    before = _newest_resident()
    acts: list[tuple[str, Callable[[Screen], str]]] = [
        ("two models, room for one", act_evict),
        ("the holder is killed", act_killed),
        ("a turn is skipped", act_skip),
        ("one rung of the governor", act_rung),
    ]
    try:
        return [play(title, act, screen, f"{number}/{len(acts)}") for number, (title, act) in enumerate(acts, 1)]
    finally:
        restore_budget()
        for row in engines_in_memory():
            if row.id > before and row.context_tokens in (SMALL_CONTEXT, OTHER_CONTEXT):
                unload_idle(row.id, reason="the tour is over")


def play(title: str, act: Callable[[Screen], str], screen: Screen, place: str) -> Act:
    """One act to its end, whatever comes of it, with its seconds."""
    screen.say(f"tour {place}: {title}")
    started = time.monotonic()
    try:
        said, shown = act(screen), True
    except HotdeskError as error:
        said, shown = error.happened, False
    seconds = time.monotonic() - started
    screen.say(f"  {'' if shown else 'could not be shown: '}{said} ({seconds:.1f} s)")
    screen.show()
    return Act(title, seconds, shown, said)


def act_evict(screen: Screen) -> str:
    """Two residents and a budget for one: the idle one leaves before the other comes in."""
    first, second = shipped(SMALL_CONTEXT), shipped(OTHER_CONTEXT)
    budget_mib = BUDGET_IN_MODELS * fittings(first)[0].footprint.mib
    with _budget_for_one(budget_mib):
        with desk(first, _errand(first, "tour/first")) as seat:
            old, old_mib = seat.loaded.identity, seat.loaded.memory_mib or 0.0
            screen.say(f"  before: {first.context_tokens} tokens, {_process(old)}, {old_mib:.0f} MiB")
            screen.show()
        with desk(second, _errand(second, "tour/second")) as seat:
            new, new_mib = seat.loaded.identity, seat.loaded.memory_mib or 0.0
            gone = "is gone" if old is None or life(old) is Life.DEAD else "still runs"
            screen.say(
                f"  after: {second.context_tokens} tokens, {_process(new)}, {new_mib:.0f} MiB; {_process(old)} {gone}"
            )
            screen.show()
    if gone != "is gone":
        raise NotReady(f"{_process(old)} was not evicted.", remedy="See the engine's log in logs/.")
    return f"{old_mib:.0f} MiB went back before {new_mib:.0f} MiB came in; the budget was {budget_mib:.0f} MiB"


def act_killed(screen: Screen) -> str:
    """SIGKILL to the holder: the next in line proves it dead and sits down."""
    spec = shipped(OTHER_CONTEXT)
    with full_desk(spec, "tour/holder") as holder, holding(spec, "tour/next", PATIENCE_SECONDS) as heir:
        wait_in_line(heir.pid)
        screen.say(f"  pid {holder.pid} holds the desk under fence {_fence(spec.line)}, pid {heir.pid} waits")
        screen.show()
        killed_at = datetime.now(UTC)
        holder.kill()
        heir.wait_seated(PATIENCE_SECONDS)
        gap = (_seated_at(heir.pid) - killed_at).total_seconds()
        screen.show()
        return f"killed with SIGKILL; the next one had the desk {gap * 1000:.0f} ms later, fence {_fence(spec.line)}"


def act_skip(screen: Screen) -> str:
    """A ticket whose patience ends leaves with its reason, and the line goes on."""
    spec = shipped(OTHER_CONTEXT)
    with full_desk(spec, "tour/busy") as holder:
        screen.say(f"  pid {holder.pid} sits; an agent with {SHORT_PATIENCE_SECONDS:.0f} s of patience takes a ticket")
        screen.show()
        try:
            with desk(spec, _errand(spec, "tour/hurried", SHORT_PATIENCE_SECONDS)):
                pass
        except LeftLine as left:
            return f"skipped: {left.happened}"
    raise NotReady("The desk was free, so nobody had to wait.", remedy="Run `hotdesk tour` again.")


@contextmanager
def full_desk(spec: ModelSpec, agent: str) -> Iterator[Held]:
    """Fill every slot of the line; the first child is the one to look at."""
    with ExitStack() as stack:
        children = []
        for _ in range(current_profile().slots[spec.line]):
            child = stack.enter_context(holding(spec, agent, PATIENCE_SECONDS))
            child.wait_seated(PATIENCE_SECONDS)
            children.append(child)
        yield children[0]


def act_rung(screen: Screen) -> str:
    """Marks that the real readings exceed lead one rung up; marks that they do not lead back."""
    if current_rung() is not Rung.NORMAL:
        raise NotReady("The governor is on a higher rung already.", remedy="Run `hotdesk tour` again when it is calm.")
    with _ladder_put_back():
        climbed = [_look(screen, ALWAYS_EXCEEDED) for _ in range(PERSISTENCE)][-1]
        back = _look(screen, NEVER_EXCEEDED)
    return f"normal -> {climbed} -> {back}; two looks to climb, one to come back"


@contextmanager
def _ladder_put_back() -> Iterator[None]:
    """Where the ladder stood and what the governor saw, as they were; a rung beyond the act's own is real and stays."""
    before = {key: recall(key) for key in (STANDING_KEY, RUNG_KEY, SEEN_KEY)}
    try:
        yield
    finally:
        if current_rung() in (Rung.NORMAL, Rung.TRIM):
            for key, value in before.items():
                remember(key, value)


def _look(screen: Screen, mark: Mark) -> str:
    row = tick(datetime.now(UTC), rules=Rules(marks=(mark,), cooldown=AT_ONCE))
    value = row.readings.get(mark.reading)
    read = f"{value:.0f}%" if isinstance(value, float) else str(value)
    screen.say(f"  host memory available {read}: rung {row.rung}, {row.reason}")
    screen.show()
    return row.rung


def shipped(context_tokens: int) -> ModelSpec:
    """The shipped weights under some context, behind the line of the heavy model; every machine can run them."""
    spec = shipped_spec("heavy", host.cores())
    name = f"{spec.model}-{context_tokens}"  # by another name: one model has one context for the whole fleet
    return spec.model_copy(update={"model": name, "context_tokens": context_tokens})


def _errand(spec: ModelSpec, agent: str, patience_seconds: float = PATIENCE_SECONDS) -> line.Errand:
    return line.Errand(spec.line, agent, spec.model, patience_seconds)


@contextmanager
def _budget_for_one(budget_mib: float) -> Iterator[None]:
    """Leave room for one model beside those in use; the idle ones leave first, so that ours meet."""
    for row in engines_in_memory():
        unload_idle(row.id, reason="the tour needs the room for a minute")
    in_use = sum(row.memory_mib or 0.0 for row in engines_in_memory())
    remember(SAVED_KEY, recall(BUDGET_KEY) or "none")
    remember(BUDGET_KEY, str(in_use + budget_mib))
    try:
        yield
    finally:
        restore_budget()


def restore_budget() -> None:
    """Put the memory budget back as it was, also after a tour that was killed."""
    saved = recall(SAVED_KEY)
    if saved:
        remember(BUDGET_KEY, "" if saved == "none" else saved)
        remember(SAVED_KEY, "")


def wait_in_line(pid: int, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until a ticket of process `pid` waits in line.

    Raises:
        NotReady: it did not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    waiting = select(func.count()).where(Ticket.pid == pid, Ticket.state == "waiting")
    while time.monotonic() < deadline:
        with reading() as session:
            if session.scalar(waiting):
                return
        time.sleep(0.05)
    raise NotReady(f"Process {pid} did not join the line in {seconds:.0f} s.", remedy="Run `hotdesk tour` again.")


def _seated_at(pid: int) -> datetime:
    with reading() as session:
        newest = select(Ticket).where(Ticket.pid == pid).order_by(Ticket.id.desc()).limit(1)
        return session.scalars(newest).one().seated_at or datetime.now(UTC)


def _fence(name: str) -> int:
    with reading() as session:
        return max(session.scalars(select(Slot.fence).where(Slot.line == name)), default=0)


def _newest_resident() -> int:
    with reading() as session:
        return session.scalar(select(func.max(Resident.id))) or 0


def _process(identity: Identity | None) -> str:
    return f"pid {identity.pid}" if identity else "no process of ours"
