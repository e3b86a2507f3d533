"""Which waiting flow runs start now: in due order, as many as there are places and memory. Pure.

A run waits on the server and costs nothing there. Started, it is a process that waits in line for a model. So what
bounds it is memory, and the places that the profile gives. Who asks the server, starts and cancels is the worker.

- **Twins** are late runs of one agent that came by schedule. The work is done once, for the latest time; the others
  are dropped. The oldest is kept until the latest starts: it is the agent's place in the order. Without it an agent of
  every ten minutes would go to the end again at each of its times, and a busy machine would never get to it.
- **One run of an agent at a time**, where its deployment lets one through (`concurrency_limit` 1, CANCEL_NEW). The
  server cancels a second one that comes to it while the first works. So a second one waits here, whoever asked for it,
  and runs when the first has ended: what somebody asked for by hand is done, and what came by schedule is done for the
  latest of its times.
- **Lanes** have places of their own: agents never keep the house out. Memory bounds agents only: the house is what
  gives memory back. One agent runs whatever memory says, or a small machine would never do anything.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from pydantic import Field

from governor.policy.facts import Fact

AGENTS, HOUSE = "agents", "house"
# Where runs are forks of one warm process. Elsewhere each is a process that imports everything anew.
FORKING_PLATFORM = "linux"
# What one more run takes before any was measured: a forked one had 47 MiB of its own, and grows while it works.
RUN_MIB = 60.0
# Of the runs measured, this share took no more than the estimate.
HIGH_SHARE = 0.9
# What the estimate before counts for, in runs; the most lets it follow a new version within a day.
LEAST_WEIGHT, MOST_WEIGHT = 5, 20


class Waiting(Fact):
    """A run that the server has scheduled.

    Attributes:
        due_at: the time of its state. deployment_id: None for none.
        alone: the server lets one run of its deployment through at a time, and cancels others that come to it.
    """

    run_id: UUID
    deployment_id: UUID | None
    lane: str
    due_at: datetime
    by_schedule: bool
    alone: bool = True


class Working(Fact):
    """A run that was started and has not ended, also one whose process is only being made."""

    run_id: UUID
    deployment_id: UUID | None
    lane: str


class Room(Fact):
    """What there is for runs.

    Attributes:
        places: most runs at a time, by lane; a lane without is closed.
        free_mib: memory that more runs could take, less what working ones still grow; None: unknown, bounds nothing.
        run_mib: what one more run takes. spare_mib: what stays free.
    """

    places: Mapping[str, int]
    free_mib: float | None
    run_mib: float = Field(gt=0)
    spare_mib: float = Field(ge=0)


class Admission(Fact):
    """What to do now.

    Attributes:
        start: runs to start, in this order.
        drop: runs to cancel before any is started, each with the reason in words.
        held: why others that are due wait, in words; '' when none does.
    """

    start: tuple[UUID, ...] = ()
    drop: tuple[tuple[UUID, str], ...] = ()
    held: str = ""


class Learned(Fact):
    """What one more run takes, and of how many runs that is known."""

    mib: float = Field(default=RUN_MIB, gt=0, allow_inf_nan=False)
    runs: int = Field(default=0, ge=0)


class _Turn(Fact):
    """A run that may start, its place in the order, and its older twins."""

    run: Waiting
    since: datetime
    older: tuple[Waiting, ...] = ()


def admit(waiting: Iterable[Waiting], working: Iterable[Working], room: Room, *, now: datetime) -> Admission:
    """Which runs start, which are dropped and why the others wait.

    Runs due later are left alone. Equal times are served by run id, so that two looks say the same. A run that waits
    and works is one that the server does not know to have started; it works.
    """
    there = {run.run_id: run for run in working}
    due = {run.run_id: run for run in waiting if run.due_at <= now and run.run_id not in there}
    at_work = Counter(run.lane for run in there.values())
    openings = {lane: _openings(lane, at_work[lane], room) for lane in {run.lane for run in due.values()}}
    busy = {run.deployment_id for run in there.values()} - {None}
    started: list[_Turn] = []
    behind_own, no_room = Counter[str](), Counter[str]()
    turns = sorted(_turns(due.values()), key=lambda turn: (turn.since, turn.run.run_id))
    for turn in turns:
        lane, deployment = turn.run.lane, turn.run.deployment_id
        if turn.run.alone and deployment in busy:
            behind_own[lane] += 1
        elif not openings[lane]:
            no_room[lane] += 1
        else:
            openings[lane] -= 1
            at_work[lane] += 1
            started.append(turn)
            if turn.run.alone:
                busy |= {deployment} - {None}
    said = (
        _held(lane, (no_room[lane], behind_own[lane]), at_work[lane], room=room)
        for lane in sorted({*no_room, *behind_own})
    )
    return Admission(
        start=tuple(turn.run.run_id for turn in started), drop=_dropped(turns, started), held="; ".join(said)
    )


def learned(peaks: Sequence[float], before: Learned) -> Learned:
    """What one more run takes, by the most that each run of `peaks` had (MiB) and by what was known before.

    The high side counts, since a run grows while it works; with few runs what was known before counts more.
    """
    if not peaks:
        return before
    high = sorted(peaks)[math.ceil(HIGH_SHARE * len(peaks)) - 1]
    weight = min(MOST_WEIGHT, max(LEAST_WEIGHT, before.runs))
    mib = (weight * before.mib + len(peaks) * high) / (weight + len(peaks))
    return Learned(mib=mib, runs=before.runs + len(peaks))


def _turns(due: Iterable[Waiting]) -> Iterable[_Turn]:
    """Each run that somebody asked for, and of each agent the latest that came by schedule."""
    twins: dict[UUID, list[Waiting]] = {}
    for run in due:
        if run.alone and run.by_schedule and run.deployment_id:
            twins.setdefault(run.deployment_id, []).append(run)
        else:
            yield _Turn(run=run, since=run.due_at)
    for several in twins.values():
        *older, latest = sorted(several, key=lambda run: (run.due_at, run.run_id))
        yield _Turn(run=latest, since=older[0].due_at if older else latest.due_at, older=tuple(older))


def _openings(lane: str, at_work: int, room: Room) -> int:
    """How many more runs of a lane may start."""
    places = max(0, room.places.get(lane, 0) - at_work)
    if lane != AGENTS or room.free_mib is None:
        return places
    fit = math.floor((room.free_mib - room.spare_mib) / room.run_mib)
    return min(places, max(fit, 0 if at_work else 1))


def _dropped(turns: Iterable[_Turn], started: Sequence[_Turn]) -> tuple[tuple[UUID, str], ...]:
    """Twins but the latest; the oldest keeps the agent's place until the latest starts."""
    starting = {turn.run.run_id for turn in started}
    return tuple(
        (
            run.run_id,
            f"a later run of this agent, due at {turn.run.due_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, does it once",
        )
        for turn in turns
        for run in (turn.older if turn.run.run_id in starting else turn.older[1:])
    )


def _held(lane: str, waiting: tuple[int, int], at_work: int, *, room: Room) -> str:
    """Why runs of one lane wait: how many for room, how many for an earlier run of their agent."""
    for_room, behind_own = waiting
    said: list[str] = []
    if for_room:
        places = room.places.get(lane, 0)
        full = (
            f"{at_work} of {places} run" if at_work >= places or room.free_mib is None else _short(room.free_mib, room)
        )
        said.append(f"{_wait(for_room)}: {full}")
    if behind_own:
        said.append(f"{_wait(behind_own)} for an earlier run of the same agent")
    return ("" if lane == AGENTS else f"{lane}: ") + ", ".join(said)


def _short(free_mib: float, room: Room) -> str:
    return f"{max(0.0, free_mib):.0f} MiB free, a run takes {room.run_mib:.0f} and {room.spare_mib:.0f} stay free"


def _wait(runs: int) -> str:
    return "1 waits" if runs == 1 else f"{runs} wait"
