"""Free slots that Prefect counts as taken although nobody holds them; they would stay so for good.

A limit that was disabled while its lease was released, or a server that lost its leases, leaves one. A
counter is reset only when every lease can be read, none names the limit, nobody of ours is at the desk,
and the same was seen before: what cannot be read counts as taken. Limits and leases that are merely wrong
are `governor.mirror`.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse, GlobalConcurrencyLimitResponse
from prefect.client.schemas.sorting import DeploymentSort
from sqlalchemy import select
from sqlalchemy.orm import Session

from governor.events import log_event
from governor.lease_files import taken_slots
from governor.processes import identify
from governor.rows import IDLE_SLOT
from governor.state.models import Slot, Ticket
from governor.state.sessions import reading, recall, remember, transaction

UNDER_WAY = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
# The server counts a slot some milliseconds before it writes the lease's file, so one look proves nothing.
SECOND_LOOK_SECONDS = 2.0
# A first look from long ago is about another time: the governor looks every three minutes.
SIGHT_LASTS_SECONDS = 900.0
PAGE = 200


def reset_lines(
    client: SyncPrefectClient, lines: Mapping[str, int], *, leases: Path | None, now: datetime
) -> Iterator[str]:
    """Free a line's slots that nobody holds, at the second look, and only while no process of ours can begin to ask.

    A flow outside the line that took a slot without a lease (a raw increment) is not seen and is robbed.
    """
    for line, slots in sorted(lines.items()):
        limit = client.read_global_concurrency_limit_by_name(line)
        with reading() as session:
            in_use = not limit.active_slots or _in_use(session, line)
        taken = None if in_use else taken_slots(leases, limit.id)
        if in_use or taken or not seen_before(limit, now=now):
            continue
        if taken is None:
            yield _remedy(limit)
            continue
        with _nobody_begins(line, slots) as alone:
            if alone and _reset(client, limit, leases):
                yield f"limit {line} had {limit.active_slots} slots taken that nobody held; they are free again"


def _in_use(session: Session, line: str) -> bool:
    """Whether anybody of ours sits, asks, offers or releases at this line."""
    at_desk = select(Slot.line).where(Slot.line == line, Slot.state.not_in(IDLE_SLOT))
    asking = select(Ticket.line).where(Ticket.line == line, Ticket.state == "asking")
    return session.scalars(at_desk.union_all(asking)).first() is not None


@contextmanager
def _nobody_begins(line: str, slots: int) -> Iterator[bool]:
    """Keep the whole line's slots, so that no process of ours asks meanwhile; False when one is in use.

    Should this process die here, its rows are reaped as those of any dead releaser.
    """
    try:
        yield _claim_line(line, slots)
    finally:
        _free_line(line)


def _claim_line(line: str, slots: int) -> bool:
    with transaction() as session:
        if _in_use(session, line):
            return False
        rows = {slot.index: slot for slot in session.scalars(select(Slot).where(Slot.line == line))}
        # Slots that nobody made yet or that are retired too: whoever comes first would make them free and ask.
        for index in range(slots):
            rows.setdefault(index, Slot(line=line, index=index, state="free"))
        for slot in rows.values():
            if slot.state == "free" or slot.index < slots:
                slot.state, slot.identity, slot.since_s = "releasing", identify(), time.monotonic()
        session.add_all(rows.values())
    return True


def _free_line(line: str) -> None:
    kept = select(Slot).where(Slot.line == line, Slot.state == "releasing", Slot.ticket_id.is_(None))
    with transaction() as session:
        for slot in session.scalars(kept):
            if slot.identity == identify():
                slot.state, slot.identity, slot.since_s = "free", None, time.monotonic()


def reset_deployments(client: SyncPrefectClient, pool: str, *, leases: Path | None, now: datetime) -> Iterator[str]:
    """Free a deployment's slots that the server counts as taken although no run of it is under way.

    While such a limit is full no run of it can begin, so nothing has to be kept from it.
    """
    for deployment in _deployments(client, pool):
        limit = deployment.global_concurrency_limit
        if limit is None or not limit.active_slots or _is_under_way(client, deployment.id):
            continue
        taken = taken_slots(leases, limit.id)
        if taken or not seen_before(limit, now=now):
            continue
        if taken is None:
            yield _remedy(limit)
        elif _reset(client, limit, leases):
            yield f"deployment {deployment.name} could not run: its last run had left its place taken; it is free again"


def _is_under_way(client: SyncPrefectClient, deployment_id: UUID) -> bool:
    """Whether any run of a deployment may have a place: Pending, Running or Cancelling."""
    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(UNDER_WAY))),
    )
    return bool(client.read_flow_runs(flow_run_filter=wanted, limit=1))


def _deployments(client: SyncPrefectClient, pool: str) -> Iterator[DeploymentResponse]:
    ours = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    page, offset = [], 0
    while offset == 0 or len(page) == PAGE:
        page = client.read_deployments(work_pool_filter=ours, limit=PAGE, offset=offset, sort=DeploymentSort.NAME_ASC)
        yield from page
        offset += PAGE


def seen_before(limit: GlobalConcurrencyLimitResponse, *, now: datetime) -> bool:
    """Whether a look at least 2 s ago saw this limit stuck in the very same way; the first sight is remembered."""
    what = f"{limit.id} {limit.active_slots}"
    seen, _, at = recall(_sight(limit)).rpartition(" ")
    age_seconds = (now - datetime.fromisoformat(at)).total_seconds() if seen == what else -1.0
    if not 0 <= age_seconds <= SIGHT_LASTS_SECONDS:
        remember(_sight(limit), f"{what} {now.isoformat()}")
        log_event("slots_look_stuck", level=logging.WARNING, limit=limit.name, slots=limit.active_slots)
    return SECOND_LOOK_SECONDS <= age_seconds <= SIGHT_LASTS_SECONDS


def _sight(limit: GlobalConcurrencyLimitResponse) -> str:
    return f"stuck:{limit.name}"


def _reset(client: SyncPrefectClient, limit: GlobalConcurrencyLimitResponse, leases: Path | None) -> bool:
    """Count no slot of a limit as taken, unless it changed since it was read; whether that was done."""
    again = client.read_global_concurrency_limit_by_name(limit.name)
    if (again.id, again.active_slots) != (limit.id, limit.active_slots) or taken_slots(leases, limit.id) != 0:
        return False
    client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(active_slots=0))
    # A lease that was being written right then, or that a flow outside the line got since: count it.
    if late := taken_slots(leases, limit.id):
        late = min(late, limit.limit)
        client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(active_slots=late))
    remember(_sight(limit), "")
    log_event("slots_reset", level=logging.WARNING, limit=limit.name, slots=limit.active_slots, late=late or 0)
    return True


def _remedy(limit: GlobalConcurrencyLimitResponse) -> str:
    return (
        f"limit {limit.name} has {limit.active_slots} slots taken, by nobody of ours, and the server's leases cannot be"
        f" read here; if no flow of yours uses it, run `prefect gcl update {limit.name} --active-slots 0`"
    )
