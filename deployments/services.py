"""The processes that `hotdesk up` starts: each in a session of its own, recorded, stopped by a deadline.

A service is found again by its recorded identity, never by a name or a bare pid. What the services
are and in which order they start is left to `deployments.server` and `deployments.worker`.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil
from sqlalchemy import select

from governor.errors import NotReady
from governor.events import log_event
from governor.processes import Identity, Life, end, identify, life
from governor.settings import MIB, Home
from governor.state.models import Service
from governor.state.sessions import reading, transaction

# One worker survived SIGTERM for 5 minutes (measured): past this it is killed.
GRACE_SECONDS = 15.0
# A flow run's process outlives a worker that was killed; it has nothing left to finish by then.
LEFT_BEHIND_SECONDS = 3.0
# Inherited by everything a service starts, so that orphans in sessions of their own are found too:
# Prefect 3.8 gives every flow run a session of its own.
MARK = "HOTDESK_SERVICE"
# Engine children inherit the mark and must survive the run that started them (governor invariant 23).
ENGINE_MODULES = "governor.engines."
OF_DATABASE = ("PREFECT_SERVER_DATABASE_", "PREFECT_API_DATABASE_")
LOG_LIMIT_MIB = 10
# Kept so that a Popen object is not collected while its process runs; reaping goes by identity.
_children: list[subprocess.Popen[bytes]] = []


def start_service(
    where: Home, name: str, argv: Sequence[str], *, env: Mapping[str, str], address: str | None = None
) -> Service:
    """Start `name` unless it runs; its output goes to `logs/NAME.log`, its folder is the state folder.

    Raises:
        NotReady: the program cannot be started.
    """
    if found := running(where, name):
        return found
    log = log_file(where, name)
    try:
        _rotate(log)
        with log.open("ab") as output:
            child = subprocess.Popen(
                list(argv),
                cwd=where.root,
                env={**_inherited(name), "PYTHONUNBUFFERED": "1", **env, MARK: _mark(where, name)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise NotReady(
            f"The service {name} cannot be started: {error.strerror or error}.",
            remedy="Run `hotdesk doctor`, which names what is missing.",
        ) from error
    _children.append(child)
    row = Service(name=name, address=address, started_at=datetime.now(UTC))
    row.identity = identify(child.pid)  # our child: still there, if only as a zombie
    with transaction(where.database) as session:
        session.merge(row)
    log_event("service_started", service=name, pid=child.pid)
    return row


def _inherited(name: str) -> dict[str, str]:
    """This process's environment; where runs are kept, with its password, is for the server alone."""
    return {key: value for key, value in os.environ.items() if name == "server" or not key.startswith(OF_DATABASE)}


def stop_service(where: Home, name: str, *, grace_seconds: float = GRACE_SECONDS) -> bool:
    """SIGTERM, SIGKILL past the grace; True once neither the service nor a flow run of its is left.

    The row goes with the last process; a service that cannot be proven dead keeps it.
    """
    with reading(where.database) as session:
        row = session.get(Service, name)
    if row is None:
        return True
    owner = row.identity
    if owner is not None and life(owner) is Life.UNKNOWN:
        return False
    gone = _end_family(owner, _mark(where, name), grace_seconds)
    if gone:
        with transaction(where.database) as session:
            if (again := session.get(Service, name)) is not None and again.identity == owner:
                session.delete(again)
    log_event("service_stopped", service=name, pid=row.pid, gone=gone)
    return gone


def stop_all(where: Home, names: Sequence[str] | None = None, *, grace_seconds: float = GRACE_SECONDS) -> list[str]:
    """Stop these services (default: all recorded), last started first; returns those still alive."""
    recorded = [row.name for row in services(where)]
    chosen = [name for name in recorded if names is None or name in names]
    return [name for name in reversed(chosen) if not stop_service(where, name, grace_seconds=grace_seconds)]


def services(where: Home) -> list[Service]:
    """Every recorded service, in the order of their starts, dead or alive."""
    if not where.database.exists():
        return []
    with reading(where.database) as session:
        return list(session.scalars(select(Service).order_by(Service.started_at)))


def alive_services(where: Home) -> list[Service]:
    """The recorded services whose very process still runs."""
    return [row for row in services(where) if is_alive(row)]


def running(where: Home, name: str) -> Service | None:
    """The service of that name, if it runs."""
    return next((row for row in alive_services(where) if row.name == name), None)


def is_alive(row: Service) -> bool:
    """Whether the recorded process still runs; one that cannot be read counts as running."""
    return row.identity is not None and life(row.identity) is not Life.DEAD


def log_file(where: Home, name: str) -> Path:
    """Where the output of a service goes."""
    return where.logs / f"{name}.log"


def last_lines(log: Path, count: int = 5) -> str:
    """The end of a log for an error message, '' where there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""


def _mark(where: Home, name: str) -> str:
    return f"{where.root}:{name}"


def _end_family(owner: Identity | None, mark: str, grace_seconds: float) -> bool:
    """End the service, then what it started and left behind; each compared by identity before a signal."""
    dead = owner is None or end(owner, grace_seconds=grace_seconds)
    left = [member for member in _marked(mark) if not end(member, grace_seconds=LEFT_BEHIND_SECONDS)]
    return dead and not left


def _marked(mark: str) -> list[Identity]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and ENGINE_MODULES not in " ".join(process.cmdline()):
                found.append(identify(process.pid))
        except (psutil.Error, ProcessLookupError, OSError):
            continue  # another user's process, or one that just ended: neither is ours
    return found


def _rotate(log: Path) -> None:
    """Keep the last full log as `.1`: a service that runs for months must not fill the disk."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_MIB * MIB:
        log.replace(log.with_suffix(".log.1"))
