"""Bring Prefect's side back in agreement with our rows: limits, leases, counted slots, lost runs.

Our rows decide. What a restart, a suspend or a hand in the UI left behind at Prefect is found here and
set right, at start and every few minutes. Here are the limits themselves and the leases that nobody wants
any more; counters that hang are `governor.stuck`, runs to queue again `governor.requeue`.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from sqlalchemy.exc import OperationalError

from governor.errors import HotdeskError
from governor.events import log_event
from governor.lease_files import held_by_tickets
from governor.requeue import queue_again
from governor.state.sessions import store
from governor.stuck import reset_deployments, reset_lines
from governor.succession import claim_orphans

# OperationalError: the state database is locked or full; the others are Prefect's and ours.
UNDONE = (httpx.HTTPError, ObjectNotFound, ObjectAlreadyExists, HotdeskError, OperationalError)


def reconcile(
    client: SyncPrefectClient, lines: Mapping[str, int], *, leases: Path | None, pool: str, now: datetime
) -> list[str]:
    """Set right what differs; what was changed, one plain sentence each. Safe to repeat, also in two processes.

    A part that fails tells so in a sentence and stops no other part.

    Args:
        client: an open client of the server in use; each request is sent once.
        lines: slots of each line, from the profile.
        leases: folder of the server's lease files, None where it cannot be read: then no counter is reset
            and a sentence names the command for it.
        pool: the work pool of our deployments.
        now: aware UTC.
    """
    parts: dict[str, Callable[[], Iterable[str]]] = {
        "limits": lambda: right_limits(client, lines),
        "leases": lambda: release_orphans(client, leases, now=now),
        "slots of the lines": lambda: reset_lines(client, lines, leases=leases, now=now),
        "slots of the deployments": lambda: reset_deployments(client, pool, leases=leases, now=now),
        "lost runs": lambda: queue_again(client, pool, now=now),
    }
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        return [sentence for name, part in parts.items() for sentence in _tried(name, part)]


def _tried(name: str, part: Callable[[], Iterable[str]]) -> Iterator[str]:
    try:
        yield from part()
    except UNDONE as error:
        log_event("mirror_failed", level=logging.WARNING, part=name, why=f"{type(error).__name__}: {error}")
        yield f"could not see to the {name} ({type(error).__name__}); the next look tries again"


def right_limits(client: SyncPrefectClient, lines: Mapping[str, int]) -> Iterator[str]:
    """Every line's limit exists, is active, has its size and keeps its slots. Slots in use are never touched."""
    for line, slots in sorted(lines.items()):
        for sentence in _right_limit(client, line, slots):
            log_event("limit_set_right", tier=line, what=sentence)
            yield sentence


def _right_limit(client: SyncPrefectClient, line: str, slots: int) -> list[str]:
    try:
        found = client.read_global_concurrency_limit_by_name(line)
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=line, limit=slots))
        return [f"limit {line} was missing; it was created"]
    changed = []
    if not found.active:
        changed.append(f"limit {line} was inactive and let everybody in; it is active again")
    if found.limit != slots:
        changed.append(f"limit {line} had {found.limit} slots; it has the profile's {slots} now")
    if found.slot_decay_per_second:
        changed.append(f"limit {line} gave slots back by time; it does not any more")
    if changed:
        right = GlobalConcurrencyLimitUpdate(limit=slots, active=True, slot_decay_per_second=0.0)
        client.update_global_concurrency_limit(line, right)
    return changed


def release_orphans(client: SyncPrefectClient, folder: Path | None, *, now: datetime) -> Iterator[str]:
    """Give back leases that our ended tickets left behind, each once; nobody else's are touched.

    One that is about to end, or whose release is not answered here, is left to the server (75 s at most).
    """
    for orphan in claim_orphans(store(), held_by_tickets(folder, now), now=now):
        client.release_concurrency_slots_with_lease(UUID(orphan.lease_id))
        log_event("lease_reclaimed", level=logging.WARNING, ticket=orphan.ticket_id, tier=orphan.line)
        yield f"ticket {orphan.ticket_id} of {orphan.agent} is over but still had a lease of {orphan.line}; given back"
