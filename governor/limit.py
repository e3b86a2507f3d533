"""What the line asks of Prefect's side, and nothing more. The real one is `governor.lease.PrefectLimit`."""

from enum import StrEnum
from typing import Protocol


class Renewed(StrEnum):
    """What the server says of a lease."""

    ALIVE = "alive"
    GONE = "gone"


class Limit(Protocol):
    """The global concurrency limit behind one line. Every call is sent once and bounded in time."""

    def prepare(self) -> None:
        """Get ready while there is time: it is soon this ticket's turn. Never raises."""
        ...

    def check(self, slots: int) -> None:
        """Pass when the limit exists, is active and has `slots`.

        Raises:
            NotReady: it is not so: the desk refuses to run ungated. ServerSilent: no answer.
        """
        ...

    def ask(self, ticket_uuid: str) -> str | None:
        """One increment: the lease id, None when refused.

        Raises:
            ServerSilent: no answer; the slot may or may not be taken (see `find`).
        """
        ...

    def renew(self, lease_id: str) -> Renewed:
        """Prolong a lease.

        Raises:
            ServerSilent: no answer, which proves nothing: leases live on the server's disk.
        """
        ...

    def release(self, lease_id: str) -> bool:
        """Give a lease back by id; False when that was not answered: it ends by itself then."""
        ...

    def find(self, ticket_uuid: str) -> str | None:
        """The lease that the server holds for a ticket; None where there is none or none can be seen."""
        ...

    def leases(self) -> list[tuple[str, str]]:
        """(lease id, holder's uuid) of every lease that a ticket may hold and that does not end soon."""
        ...
