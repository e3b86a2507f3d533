"""The leases as the server's disk has them: the only place where a holder can be looked up by a ticket.

No call of Prefect's lists the holders of a limit. With filesystem storage each lease is a file in
`PREFECT_HOME/concurrency_leases`; of a server on another machine nothing can be read, and its leases end
by themselves (60 s, and 15 s for the server's own round).
"""

from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

SHORTEST_LEFT_SECONDS = 20.0
INDEX = "expirations.json"
TASK = "task_run"


class Holder(BaseModel):
    """Who a lease was given to, as told to the server: for us a `task_run` with the ticket's uuid."""

    type: str
    id: UUID


class Terms(BaseModel):
    """How many slots of each limit a lease holds, and for whom."""

    slots: int = 1
    holder: Holder | None = None


class Lease(BaseModel):
    """A lease as the server's file has it; `resource_ids` are limits."""

    id: UUID
    resource_ids: frozenset[UUID]
    metadata: Terms | None = None
    expiration: AwareDatetime

    @property
    def ticket_uuid(self) -> str | None:
        """Uuid of the ticket that may be its holder: anybody's task run has one too."""
        holder = self.metadata.holder if self.metadata else None
        return str(holder.id) if holder is not None and holder.type == TASK else None


def read_leases(folder: Path | None) -> list[Lease] | None:
    """Every lease on the server's disk; None when that cannot be told, which is not the same as none.

    The server makes the folder with its first lease, inside its PREFECT_HOME, which must be there.
    """
    if folder is None or not folder.parent.is_dir():
        return None
    found = []
    try:
        files = [file for file in folder.iterdir() if file.suffix == ".json" and file.name != INDEX]
    except FileNotFoundError:
        return []
    except OSError:
        return None
    for file in files:
        try:
            found.append(Lease.model_validate_json(file.read_text()))
        except FileNotFoundError:  # given back since
            continue
        except (OSError, ValueError):
            return None
    return found


def taken_slots(folder: Path | None, limit_id: UUID) -> int | None:
    """How many slots of a limit the leases on disk hold, expired ones too; None when that cannot be told."""
    leases = read_leases(folder)
    if leases is None:
        return None
    return sum((lease.metadata or Terms()).slots for lease in leases if limit_id in lease.resource_ids)


def held_by_tickets(folder: Path | None, now: datetime | None = None) -> list[tuple[str, str]]:
    """(lease id, holder's uuid) of every lease that a task run holds, as tickets do; as far as can be seen.

    Args:
        folder: of the lease files.
        now: leave out those that may end soon: the server takes a lease back by itself then, and a
            release at that very moment would free two slots.
    """
    ends_after = None if now is None else now + timedelta(seconds=SHORTEST_LEFT_SECONDS)
    seen = [lease for lease in read_leases(folder) or () if ends_after is None or lease.expiration > ends_after]
    return [(str(lease.id), lease.ticket_uuid) for lease in seen if lease.ticket_uuid]
