"""Stopping: first who works, then what they left at the desk, then the engines, then the server.

Every step has a deadline and ends in SIGKILL; only what stands in this state folder's records is
touched, and only after its identity was compared.
"""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import httpx
from sqlalchemy import select

from deployments.environment import SERVER, apply_client_environment
from deployments.services import services, stop_all
from deployments.up_lock import holder
from governor.errors import NotReady
from governor.events import log_event
from governor.processes import end
from governor.settings import Home, home
from governor.state.models import Slot
from governor.state.sessions import reading

# A foreground `hotdesk up` stops two workers, the engines and the server one after the other:
# four graces of 15 s at most, and some seconds to look.
UP_ENDS_WITHIN_SECONDS = 90.0
ENGINE_GRACE_SECONDS = 5.0
Say = Callable[[str], None]


def run_down(say: Say) -> int:
    """`hotdesk down`: end a foreground `hotdesk up` (which stops what it started), then what is left.

    Returns 1 when something could not be stopped; each is named.
    """
    where = home()
    if not where.database.exists():
        say(f"Nothing runs: there is no state in {where.root}.")
        return 0
    owner = holder(where)
    if owner is not None:
        say(f"stopping hotdesk up (pid {owner.pid})")
        end(owner, grace_seconds=UP_ENDS_WITHIN_SECONDS)
    left = stop_everything(where, say, force=True)
    say("everything is stopped" if not left else f"still running: {', '.join(left)}")
    return 1 if left else 0


def stop_everything(where: Home, say: Say, names: Sequence[str] | None = None, *, force: bool = False) -> list[str]:
    """Stop the recorded services `names` (default: all) and the engines; returns what is left alive.

    `force` also ends engines that a living agent of somebody else's worker uses.
    """
    recorded = [row.name for row in services(where) if names is None or row.name in names]
    workers = [name for name in recorded if name != SERVER]
    left = []
    if workers:
        say(f"stopping {', '.join(workers)}")
        left += stop_all(where, workers)
    clear_desks(where)
    if workers and SERVER in recorded:
        close_runs(where)
    left += stop_engines(say, force=force)
    if SERVER in recorded:
        say("stopping the server")
        left += stop_all(where, [SERVER])
    return left


def clear_desks(where: Home) -> None:
    """Give back what the stopped agents held at the desks, while the server can still be told."""
    with reading() as session:
        lines = sorted(set(session.scalars(select(Slot.line))))
    if not lines:
        return
    apply_client_environment(where)
    from governor.desk import clear_dead  # imports Prefect, which reads the environment
    from governor.lease import PrefectLimit

    for name in lines:
        try:
            with PrefectLimit(name) as limit:
                clear_dead(name, limit)
        except NotReady:
            return  # no server to tell: the next head of the line reaps them, the leases end by themselves


def close_runs(where: Home) -> None:
    """Tell our server that the runs of the stopped workers are over: they would keep their agents' places."""
    apply_client_environment(where)
    from prefect.client.orchestration import get_client

    from deployments.leftovers import close_leftovers

    try:
        with get_client(sync_client=True) as client:
            closed = close_leftovers(client, workers_stopped=True)
    except (httpx.HTTPError, RuntimeError, ValueError) as error:  # the next `hotdesk up` closes them
        log_event("runs_not_closed", level=logging.WARNING, why=type(error).__name__)
    else:
        log_event("runs_closed", count=closed)


def stop_engines(say: Say, *, force: bool) -> list[str]:
    """End every engine, those in use by a living agent only by `force`; returns those that would not go."""
    from governor.resident_rows import engines_in_memory
    from governor.unloading import sweep, unload_idle

    sweep(now=datetime.now(UTC))
    left = []
    for row in engines_in_memory():
        what = f"engine of {row.model} at {row.context_tokens} tokens" + (f" (pid {row.pid})" if row.pid else "")
        if unload_idle(row.id, reason="hotdesk went down"):
            say(f"stopped the {what}")
        elif not force:
            say(f"left the {what} alone: a living agent uses it, or it gave no memory back")
        elif row.identity is None or not end(row.identity, grace_seconds=ENGINE_GRACE_SECONDS):
            left.append(what)
    await_the_dead()
    return left + close_engines()


def await_the_dead() -> None:
    """Close the rows of ended processes as the driver gives their memory back, 0.1 s later; within a bound."""
    from governor.resident_rows import engines_in_memory, process_is_gone
    from governor.unloading import BACK_PAUSE_SECONDS, BACK_SECONDS, sweep

    deadline = time.monotonic() + BACK_SECONDS
    while True:
        sweep(now=datetime.now(UTC), finish=False)
        if not any(process_is_gone(row) for row in engines_in_memory()) or time.monotonic() >= deadline:
            return
        time.sleep(BACK_PAUSE_SECONDS)


def close_engines() -> list[str]:
    """End what each engine runs beside its models, unless one of these may still be alive; what would not end.

    A row of a dead process keeps nothing, even while the card holds its memory; one without a process is alive.
    """
    from governor.engines import engine, names
    from governor.resident_rows import engines_in_memory, process_is_gone

    alive = {row.engine for row in engines_in_memory() if not process_is_gone(row)}
    left = []
    for name in (name for name in names() if name not in alive):
        try:
            engine(name).close()
        except NotReady as error:  # somebody keeps its lock; the others and the server are still to be stopped
            log_event("engine_not_closed", level=logging.WARNING, why=error.happened)
            left.append(f"what the engine {name} runs beside its models")
    return left
