"""Prefect's side of the line: the global concurrency limit that keeps everybody else out.

Only the head of a line asks, once and without the client's own retries: a re-sent increment whose
first answer was lost would be refused because of itself. The only module of governor that imports
Prefect.
"""

import json
import logging
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from governor.errors import NotReady
from governor.events import log_event
from governor.settings import home

# Prefect's least: its server refuses a lease under 60 s. Three renewals fit into one, with one to spare.
LEASE_SECONDS = 60.0
RENEW_EVERY_SECONDS = 15.0
# An answer takes 10 ms (measured); a busy server some seconds. Prefect's default is a minute.
REQUEST_SECONDS = 10.0
LOCKED = 423
UNREACHABLE = (httpx.HTTPError, PrefectHTTPStatusError, RuntimeError)


class PrefectLimit:
    """One open client for one line's limit. Use as a context manager; safe for two threads."""

    def __init__(self, line: str) -> None:
        self.line = line
        self._client: SyncPrefectClient | None = None
        self._busy = threading.Lock()

    def __enter__(self) -> Self:
        try:
            # The client's own retries re-send a POST whose answer was lost: refused because of oneself, or
            # released twice at once. They also take minutes, while the whole line waits.
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: REQUEST_SECONDS}):
                self._client = get_client(sync_client=True).__enter__()
        except (ValueError, *UNREACHABLE) as error:  # ValueError: no address is configured at all
            raise self._unreachable(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.__exit__(kind, error, trace)

    @property
    def client(self) -> SyncPrefectClient:
        """The open client."""
        if self._client is None:
            raise RuntimeError("PrefectLimit is used outside its with block")
        return self._client

    def check(self, slots: int) -> None:
        """Refuse to run ungated.

        Raises:
            NotReady: the limit is missing, inactive or of another size than the profile's `slots`.
        """
        try:
            with self._busy, _once():
                limit = self.client.read_global_concurrency_limit_by_name(self.line)
        except ObjectNotFound as error:
            raise self._ungated("does not exist") from error
        except UNREACHABLE as error:
            raise self._unreachable(error) from error
        if not limit.active:
            raise self._ungated("is inactive, so it would let everybody in")
        if limit.limit != slots:
            raise self._ungated(f"has {limit.limit} slots, the profile says {slots}")

    def ask(self, ticket_uuid: str) -> str | None:
        """Ask for one slot: the lease id, or None when the limit is full.

        Raises:
            NotReady: the server did not answer; the slot may or may not be taken (see `find_lost`).
        """
        holder = ConcurrencyLeaseHolder(type="task_run", id=UUID(ticket_uuid))
        try:
            with self._busy, _once():
                answer = self.client.increment_concurrency_slots_with_lease(
                    [self.line], 1, "concurrency", LEASE_SECONDS, holder
                )
        except PrefectHTTPStatusError as error:
            if error.response.status_code == LOCKED:
                return None
            raise self._unreachable(error) from error
        except UNREACHABLE as error:
            raise self._unreachable(error) from error
        return str(answer.json()["lease_id"])

    def renew(self, lease_id: str) -> bool:
        """Prolong the lease; False when the server says it is gone, True otherwise.

        A server that does not answer is no proof of loss: the lease lives on its disk.
        """
        try:
            with self._busy, _once():
                self.client.renew_concurrency_lease(UUID(lease_id), LEASE_SECONDS)
        except (ObjectNotFound, PrefectHTTPStatusError) as error:
            code = error.response.status_code if isinstance(error, PrefectHTTPStatusError) else httpx.codes.NOT_FOUND
            return code not in (httpx.codes.GONE, httpx.codes.NOT_FOUND)
        except UNREACHABLE as error:
            log_event("renewal_unanswered", level=logging.WARNING, lease=lease_id, why=type(error).__name__)
        return True

    def release(self, lease_id: str) -> None:
        """Give the slot back by lease id. An unanswered release is left to the lease's own end (60 s)."""
        try:
            with self._busy, _once():
                self.client.release_concurrency_slots_with_lease(UUID(lease_id))
        except (ObjectNotFound, *UNREACHABLE) as error:
            log_event("release_unanswered", level=logging.WARNING, lease=lease_id, why=type(error).__name__)

    def _ungated(self, what: str) -> NotReady:
        return NotReady(
            f"The global concurrency limit `{self.line}` {what}; without it two models could share the GPU.",
            means="The desk refused; nothing was started.",
            remedy="Run `hotdesk bootstrap`, which sets the limit to the profile's size.",
            line=self.line,
        )

    def _unreachable(self, error: Exception) -> NotReady:
        return NotReady(
            f"The Prefect server did not answer ({type(error).__name__}).",
            means="No seat was taken.",
            remedy='Start it with `hotdesk up`, or check `eval "$(hotdesk env)"` in this shell.',
            line=self.line,
        )


def _once() -> AbstractContextManager[object]:
    """Send each request once: retries are ours to decide."""
    return temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0})


def find_lost(ticket_uuid: str, folder: Path | None = None) -> str | None:
    """Lease id that the server granted to this ticket, from its lease files; None where none is seen."""
    folder = folder or home().prefect / "concurrency_leases"
    for file in folder.glob("*.json"):
        try:
            lease = json.loads(file.read_text())
        except (OSError, ValueError):
            continue
        holder = (lease.get("metadata") or {}).get("holder") or {} if isinstance(lease, dict) else {}
        if holder.get("id") == ticket_uuid:
            return file.stem
    return None


class Renewal:
    """A thread that renews a lease until stopped; `lost` is set when the server says it is gone."""

    def __init__(self, limit: PrefectLimit, lease_id: str) -> None:
        self._limit, self._lease_id = limit, lease_id
        self._stop = threading.Event()
        self.lost = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"renew-{limit.line}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(RENEW_EVERY_SECONDS):
            if not self._limit.renew(self._lease_id):
                self.lost.set()
                return

    def stop(self) -> None:
        """Stop and join, so that no renewal is in flight when the lease is released."""
        self._stop.set()
        self._thread.join(timeout=2 * REQUEST_SECONDS)
