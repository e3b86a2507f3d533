"""Prefect's side of the line: the global concurrency limit that keeps everybody else out.

Only the head of a line asks, once and without the client's own retries: a re-sent increment whose
first answer was lost would be refused because of itself. Beside this only the look that sets Prefect's side
right (`governor.mirror`, `stuck`, `requeue`) imports Prefect.
"""

import logging
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.context import SettingsContext, get_settings_context
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from governor.errors import NotReady, ServerSilent
from governor.events import log_event
from governor.lease_files import held_by_tickets
from governor.limit import Renewed
from governor.settings import home

# Prefect's least: its server refuses a lease under 60 s.
LEASE_SECONDS = 60.0
# An answer takes 10 ms (measured); a busy server some seconds. Prefect's default is a minute.
REQUEST_SECONDS = 10.0
LOCKED = 423
UNREACHABLE = (httpx.HTTPError, PrefectHTTPStatusError, RuntimeError)


class PrefectLimit:
    """The limit of one line, through one client that is opened at the first call. Safe for two threads.

    Use as a context manager. A ticket deep in line never calls, so it costs the server nothing.
    """

    def __init__(self, line: str) -> None:
        self.line = line
        self._client: SyncPrefectClient | None = None
        self._busy = threading.Lock()
        self._leases = lease_folder()
        self._keeps_leases = False

    def __enter__(self) -> Self:
        return self

    def _open(self) -> SyncPrefectClient:
        try:
            with _once():
                return get_client(sync_client=True, httpx_settings=_wire()).__enter__()
        except ValueError as error:
            raise NotReady(
                "No Prefect server is configured.",
                means="No seat was taken.",
                remedy='Start one with `hotdesk up`, or run `eval "$(hotdesk env)"` in this shell.',
            ) from error
        except UNREACHABLE as error:
            raise self._silent(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.__exit__(kind, error, trace)

    def prepare(self) -> None:
        """See Limit. Connects, and gets the token that the server wants to see with every change."""
        if self._client is not None:
            return
        with suppress(NotReady, *UNREACHABLE), self._busy, _once():  # said when the server is really asked
            self.client.read_global_concurrency_limits(limit=1, offset=0)

    @property
    def client(self) -> SyncPrefectClient:
        """The open client."""
        if self._client is None:
            self._client = self._open()
        return self._client

    def check(self, slots: int) -> None:
        """See Limit."""
        try:
            with self._busy, _once():
                limit = self.client.read_global_concurrency_limit_by_name(self.line)
        except ObjectNotFound as error:
            raise self._ungated("does not exist") from error
        except UNREACHABLE as error:
            raise self._silent(error) from error
        if not self._keeps_leases:
            self._keeps_leases = self._check_storage()
        if not limit.active:
            raise self._ungated("is inactive, so it would let everybody in")
        if limit.limit != slots:
            raise self._ungated(f"has {limit.limit} slots, the profile says {slots}")

    def ask(self, ticket_uuid: str) -> str | None:
        """See Limit."""
        holder = ConcurrencyLeaseHolder(type="task_run", id=UUID(ticket_uuid))
        try:
            with self._busy, _once():
                answer = self.client.increment_concurrency_slots_with_lease(
                    [self.line], 1, "concurrency", LEASE_SECONDS, holder
                )
            return str(answer.json()["lease_id"])
        except PrefectHTTPStatusError as error:
            if error.response.status_code == LOCKED:
                return None
            raise self._silent(error) from error
        except (*UNREACHABLE, ValueError, KeyError) as error:
            raise self._silent(error) from error

    def renew(self, lease_id: str) -> Renewed:
        """See Limit."""
        try:
            with self._busy, _once():
                self.client.renew_concurrency_lease(UUID(lease_id), LEASE_SECONDS)
        except ObjectNotFound:
            return Renewed.GONE
        except PrefectHTTPStatusError as error:
            if error.response.status_code in (httpx.codes.GONE, httpx.codes.NOT_FOUND):
                return Renewed.GONE
            raise self._silent(error) from error
        except UNREACHABLE as error:
            raise self._silent(error) from error
        return Renewed.ALIVE

    def release(self, lease_id: str) -> bool:
        """See Limit."""
        try:
            with self._busy, _once():
                self.client.release_concurrency_slots_with_lease(UUID(lease_id))
        except ObjectNotFound:
            return True
        except UNREACHABLE as error:
            log_event("release_unanswered", level=logging.WARNING, lease=lease_id, why=type(error).__name__)
            return False
        return True

    def find(self, ticket_uuid: str) -> str | None:
        """See Limit."""
        held = held_by_tickets(self._leases)
        return next((lease_id for lease_id, uuid in held if uuid == ticket_uuid), None)

    def leases(self) -> list[tuple[str, str]]:
        """See Limit."""
        return held_by_tickets(self._leases, datetime.now(UTC))

    def _check_storage(self) -> bool:
        """A server that forgets its leases at a restart would leave the slot taken for good.

        Raises:
            NotReady: it keeps them in memory. ServerSilent: no answer.
        """
        try:
            with self._busy, _once():
                storage = lease_storage(self.client)
        except UNREACHABLE as error:
            raise self._silent(error) from error
        if storage.endswith("memory"):
            raise NotReady(
                "The Prefect server keeps its leases in memory: a restart would leave the desk taken for good.",
                means="No seat was taken.",
                remedy="Start it with `hotdesk up`, or with the settings that `hotdesk env` prints.",
                line=self.line,
            )
        return True

    def _ungated(self, what: str) -> NotReady:
        return NotReady(
            f"The global concurrency limit `{self.line}` {what}; without it two models could share the GPU.",
            means="The desk refused; nothing was started.",
            remedy="Run `hotdesk bootstrap`, which sets the limit to the profile's size.",
            line=self.line,
        )

    def _silent(self, error: Exception) -> ServerSilent:
        return ServerSilent(
            f"The Prefect server did not answer ({type(error).__name__}).",
            means="No seat was taken.",
            remedy='Start it with `hotdesk up`, or check `eval "$(hotdesk env)"` in this shell.',
            line=self.line,
        )


def _once() -> SettingsContext:
    """Send each request once, and wait 10 s at most: retries are ours to decide.

    The client's own re-send a POST whose answer was lost: refused because of oneself, or released twice
    at once. They also take minutes, while the whole line waits. Copied by hand: Prefect's own
    `temporary_settings` builds all settings anew, which takes 40-75 ms (measured).
    """
    context = get_settings_context()
    client = context.settings.client.model_copy(update={"max_retries": 0})
    api = context.settings.api.model_copy(update={"request_timeout": REQUEST_SECONDS})
    settings = context.settings.model_copy(update={"client": client, "api": api})
    return SettingsContext(profile=context.profile, settings=settings)


def _wire() -> dict[str, Any]:
    """Reading the certificate bundle takes 45 ms; an address without TLS needs none (and trusts nobody)."""
    plain = (PREFECT_API_URL.value() or "").startswith("http://")
    return {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)} if plain else {}


def lease_folder() -> Path:
    """Where the server of this state folder keeps its leases."""
    return home().prefect / "concurrency_leases"


def served_leases(client: SyncPrefectClient) -> Path | None:
    """Folder of the lease files of the server that answers; None when it keeps them elsewhere.

    A server on another machine has its files there; one that keeps its leases in memory has none.
    """
    if client.api_url.host not in ("127.0.0.1", "localhost", "::1"):
        return None
    told = client.request("GET", "/admin/settings").json()
    where = Path(str(told.get("home", "")))
    return where / "concurrency_leases" if _storage(told).endswith("filesystem") and where.is_dir() else None


def lease_storage(client: SyncPrefectClient) -> str:
    """The module with which the server keeps its leases, '' when it does not say."""
    try:
        return _storage(client.request("GET", "/admin/settings").json())
    except (ObjectNotFound, ValueError):  # a hosted server has no such page
        return ""


def _storage(settings: dict[str, Any]) -> str:
    return str(((settings.get("server") or {}).get("concurrency") or {}).get("lease_storage") or "")
