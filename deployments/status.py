"""One look at everything: who sits, who waits, what is in memory, what runs, what came out today.

Reads the database and the process table, never the server, so that it answers while the server is
down. `hotdesk status` prints it, the live view draws it; neither looks anything up by itself.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from deployments.bootstrap_names import HELD_KEY, WORKER
from governor.pause_rows import in_force
from governor.policy.facts import Rung
from governor.policy.pausing import Pause
from governor.processes import Life, life
from governor.rows import IN_LINE, LIVE
from governor.settings import home
from governor.state.models import AgentRun, ProcessColumns, Service, Setting, Slot, Ticket
from governor.state.residents import Resident
from governor.state.sessions import reading

LATEST_RESULTS = 8
STATES = ("written", "could_not", "skipped", "failed", "running")
DIED = "its process died before it ended"


@dataclass(frozen=True)
class Sitting:
    """One slot of one desk. `agent` is None when it is free."""

    line: str
    index: int
    state: str
    fence: int
    agent: str | None
    model: str | None
    pid: int | None
    seconds: float
    alive: bool


@dataclass(frozen=True)
class Waiting:
    """One ticket in line; place 1 is the head."""

    line: str
    place: int
    agent: str
    model: str
    seconds: float
    patience_seconds: float
    alive: bool


@dataclass(frozen=True)
class InMemory:
    """One model in memory, or on its way in or out."""

    id: int
    model: str
    context_tokens: int
    engine: str
    line: str
    state: str
    pid: int | None
    memory_mib: float | None
    busy: bool
    idle_seconds: float


@dataclass(frozen=True)
class Running:
    """A process that `hotdesk up` started."""

    name: str
    address: str | None
    pid: int | None
    alive: bool


@dataclass(frozen=True)
class Result:
    """One run of an agent. `at` is its end, or its start while it runs."""

    agent: str
    state: str
    at: datetime
    output_path: str | None
    message: str | None
    capped: bool


@dataclass(frozen=True)
class Snapshot:
    """Everything at one moment. `down` names what should run and does not, with the remedy; `pauses` are in force.

    `held`: why runs that are due are not begun, '' when none waits for that.
    """

    at: datetime
    home: str
    profile: str
    rung: str
    services: tuple[Running, ...] = ()
    desks: tuple[Sitting, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    in_memory: tuple[InMemory, ...] = ()
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    latest: tuple[Result, ...] = ()
    down: tuple[str, ...] = ()
    pauses: tuple[Pause, ...] = ()
    held: str = ""


def day_start(now: datetime) -> datetime:
    """Local midnight before `now`: where today's results begin."""
    return now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)


def snapshot(*, now: datetime, since: datetime | None = None) -> Snapshot:
    """Look once. Results count from `since` (default: local midnight).

    Raises:
        NotReady: the database is there and cannot be opened.
    """
    where = home()
    if not where.database.exists():
        nothing = f"No state in {where.root} yet: run `hotdesk up`."
        return Snapshot(now, str(where.root), "", Rung.NORMAL.value, down=(nothing,))
    with reading() as session:
        services = _services(session)
        counts, latest = _results(session, since or day_start(now))
        return Snapshot(
            at=now,
            home=str(where.root),
            profile=_setting(session, "profile"),
            rung=_setting(session, "rung") or Rung.NORMAL.value,
            services=services,
            desks=_desks(session, now),
            waiting=_line(session, now),
            in_memory=_in_memory(session, now),
            counts=counts,
            latest=latest,
            down=_down(services),
            pauses=tuple(in_force(session, now)),
            held=_setting(session, HELD_KEY) if any(s.alive and s.name == WORKER for s in services) else "",
        )


def with_server(look: Snapshot) -> Snapshot:
    """The same look, with a word if the Prefect server in use does not answer (0.1 s when it is up)."""
    from deployments.environment import SERVER, configured_url
    from deployments.server import answers

    ours = next((service.address for service in look.services if service.name == SERVER and service.alive), None)
    url = configured_url(home()) or ours
    if url is None or answers(url):
        return look
    note = f"The Prefect server at {url} does not answer: `hotdesk doctor` says more."
    return replace(look, down=(*look.down, note))


def as_json(look: Snapshot) -> str:
    """The snapshot for programs: the field names above, times in ISO 8601."""

    def plain(value: Any) -> str:
        return value.isoformat() if isinstance(value, datetime) else str(value)

    return json.dumps(asdict(look), default=plain, indent=2)


def _setting(session: Session, key: str) -> str:
    row = session.get(Setting, key)
    return row.value if row else ""


def _alive(row: ProcessColumns) -> bool:
    """Not proven dead: a process that cannot be read counts as alive."""
    return row.identity is not None and life(row.identity) is not Life.DEAD


def _services(session: Session) -> tuple[Running, ...]:
    rows = session.scalars(select(Service).order_by(Service.started_at)).all()
    return tuple(Running(row.name, row.address, row.pid, _alive(row)) for row in rows)


def _down(services: tuple[Running, ...]) -> tuple[str, ...]:
    if not any(service.alive for service in services):
        return ("Nothing that `hotdesk up` starts is running: run `hotdesk up`.",)
    gone = [service.name for service in services if not service.alive]
    return tuple(f"{name} is down: its log is in logs/; `hotdesk up` starts it again." for name in gone)


def _desks(session: Session, now: datetime) -> tuple[Sitting, ...]:
    found = []
    for slot in session.scalars(select(Slot).order_by(Slot.line.desc(), Slot.index)):
        ticket = session.get(Ticket, slot.ticket_id) if slot.ticket_id else None
        since = slot.granted_at or now
        found.append(
            Sitting(
                line=slot.line,
                index=slot.index,
                state=slot.state,
                fence=slot.fence,
                agent=ticket.agent if ticket else None,
                model=ticket.model if ticket else None,
                pid=slot.pid,
                seconds=max(0.0, (now - since).total_seconds()),
                alive=slot.state == "free" or _alive(slot),
            )
        )
    return tuple(found)


def _line(session: Session, now: datetime) -> tuple[Waiting, ...]:
    places: Counter[str] = Counter()
    found = []
    for ticket in session.scalars(select(Ticket).where(Ticket.state.in_(IN_LINE)).order_by(Ticket.id)):
        alive = _alive(ticket)
        places[ticket.line] += alive
        found.append(
            Waiting(
                line=ticket.line,
                place=places[ticket.line] if alive else 0,
                agent=ticket.agent,
                model=ticket.model,
                seconds=max(0.0, (now - ticket.taken_at).total_seconds()),
                patience_seconds=ticket.patience_seconds,
                alive=alive,
            )
        )
    return tuple(found)


def _in_memory(session: Session, now: datetime) -> tuple[InMemory, ...]:
    found = []
    for row in session.scalars(select(Resident).where(Resident.state != "gone").order_by(Resident.id)):
        if row.identity is not None and not _alive(row):
            continue
        user = session.get(Ticket, row.claimed_by) if row.claimed_by else None
        used = row.last_used_at or row.loaded_at or now
        found.append(
            InMemory(
                id=row.id,
                model=row.model,
                context_tokens=row.context_tokens,
                engine=row.engine,
                line=row.line,
                state=row.state if row.stuck_at is None else "gave nothing back",
                pid=row.pid,
                memory_mib=row.memory_mib,
                busy=user is not None and user.state in LIVE and _alive(user),
                idle_seconds=max(0.0, (now - used).total_seconds()),
            )
        )
    return tuple(found)


def _results(session: Session, since: datetime) -> tuple[dict[str, int], tuple[Result, ...]]:
    rows = session.scalars(select(AgentRun).where(AgentRun.started_at >= since)).all()
    results = sorted((_result(row) for row in rows), key=lambda result: result.at, reverse=True)
    counts = Counter(result.state for result in results)
    return {state: counts[state] for state in STATES}, tuple(results[:LATEST_RESULTS])


def _result(row: AgentRun) -> Result:
    if row.state == "running" and row.identity is not None and not _alive(row):
        return Result(row.agent, "failed", row.started_at, None, DIED, row.capped)
    at = row.ended_at or row.started_at
    return Result(row.agent, row.state, at, row.output_path, row.message, row.capped)


def short_path(path: str) -> str:
    """A path as shown: relative to the state folder where it is inside."""
    where = home().root
    return str(Path(path).relative_to(where)) if Path(path).is_relative_to(where) else path
