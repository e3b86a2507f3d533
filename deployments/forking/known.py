"""What a worker knows already, so that none of its children asks the server again.

Each of these is a call of 10 to 15 ms of the server's CPU, for every run: a token against forged requests for each
client of Prefect's (a write, three a run), the server's version and its storage for results, the deployment's name.
They live in private places of Prefect's, held to by `tests/integration/test_worker_contract.py`; where one is missing
the child asks.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import prefect
from prefect import results
from prefect._internal.version_checking import _api_version_check_key, _cache_api_version_check
from prefect.client import base
from prefect.client.orchestration import PrefectClient
from prefect.runtime import deployment as runtime_deployment

# A run that goes on past the token's end gets one itself; this is so that a fresh run has one for a while.
SPARE = timedelta(minutes=10)
STORAGE_FOR = timedelta(minutes=1)
DEPLOYMENT_SECONDS, FLOW_SECONDS = 1.0, 600.0


class Known:
    """The worker's side: one token, asked for again before it ends."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._token: dict[str, str] = {}
        self._until = self._storage_at = datetime.min.replace(tzinfo=UTC)
        self._storage: str | None = None

    async def facts(self, client: PrefectClient, *, now: datetime) -> dict[str, Any]:
        """What to tell a child; empty where the server gives no tokens, or none now."""
        async with self._turn:
            if now >= self._until:
                self._token, self._until = await self._ask(client, now)
            if now - self._storage_at > STORAGE_FOR:
                self._storage, self._storage_at = await _storage_of(client), now
        return {"url": str(client.api_url), "token": self._token, "storage": self._storage}

    async def _ask(self, client: PrefectClient, now: datetime) -> tuple[dict[str, str], datetime]:
        # A name of its own: whoever asks again in a name ends its token, as the worker's client does after a refusal.
        name = str(uuid4())
        try:
            found = (await client._client.get(f"/csrf-token?client={name}")).json()
            ends = datetime.fromisoformat(found["expiration"].replace("Z", "+00:00"))
        except Exception:  # no protection on that server, or no answer: each child sees for itself
            return {}, now + SPARE
        return {"client": name, "value": found["token"], "ends": ends.isoformat()}, ends - SPARE


async def _storage_of(client: PrefectClient) -> str | None:
    """Id of the block that keeps results by default, '' where the server has none, None where it does not say."""
    try:
        found = (await client.read_server_default_result_storage()).default_result_storage_block_id
    except Exception:  # each child sees for itself
        return None
    return str(found or "")


def read_once(client: PrefectClient) -> None:
    """A worker's client that does not read twice within a moment what Prefect's worker reads twice for each run.

    A deployment that is edited while its run is being started is seen by the next run; a flow's name never changes.
    """
    client.read_deployment = _once(client.read_deployment, DEPLOYMENT_SECONDS)  # type: ignore[method-assign]
    client.read_flow = _once(client.read_flow, FLOW_SECONDS)  # type: ignore[method-assign]


def one_token(client: PrefectClient) -> None:
    """A worker's client whose requests wait for each other to get a token.

    Two that begin at once without one ask for two; the second ends the first, whose request is refused, sleeps for
    2 s, asks again, and so ends the second: a worker's first run stood still for half a minute (seen).
    """
    inner, turn = client._client, asyncio.Lock()
    add = inner._add_csrf_headers

    async def add_headers(request: Any) -> None:
        async with turn:
            await add(request)

    inner._add_csrf_headers = add_headers  # type: ignore[method-assign]


def _once(read: Callable[[UUID], Awaitable[Any]], seconds: float) -> Callable[[UUID], Awaitable[Any]]:
    kept: dict[UUID, tuple[float, Any]] = {}

    async def reading(which: UUID) -> Any:
        now_s = time.monotonic()
        if which not in kept or now_s - kept[which][0] > seconds:
            for old in [one for one, (at_s, _) in kept.items() if now_s - at_s > seconds]:
                del kept[old]
            kept[which] = (now_s, await read(which))
        return kept[which][1].model_copy(deep=True)  # Prefect's worker changes what it read

    return reading


def use(facts: Mapping[str, Any], deployment: Mapping[str, Any] | None) -> None:
    """The child's side, before its first client. What a server said counts for runs that talk to that server."""
    url = facts.get("url") or ""
    is_ours = os.environ.get("PREFECT_API_URL", "").rstrip("/") == url.rstrip("/")
    if is_ours and (token := facts.get("token")):
        for kind in (base.PrefectHttpxSyncClient, base.PrefectHttpxAsyncClient):
            _begin_with(kind, token)
    if url:
        _cache_api_version_check(_api_version_check_key(url, prefect.__version__))
    if is_ours and (storage := facts.get("storage")) is not None:
        results._read_server_default_result_storage_block_id = lambda: UUID(storage) if storage else None
    if deployment:
        known = SimpleNamespace(name=deployment["name"], version=deployment["version"])
        runtime_deployment.CACHED_DEPLOYMENT[deployment["id"]] = known  # type: ignore[assignment]  # all it reads


def _begin_with(kind: type[Any], token: Mapping[str, str]) -> None:
    """Clients of this kind have the token from the start; one that is refused, or outlives it, asks in its own name.

    Never in the worker's: that would end the token of all others.
    """
    made, add = kind.__init__, kind._add_csrf_headers

    def begin(self: Any, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        self.csrf_client_id = UUID(token["client"])
        self.csrf_token, self.csrf_token_expiration = token["value"], datetime.fromisoformat(token["ends"])

    def add_headers(self: Any, request: Any) -> Any:
        if not self.csrf_token or datetime.now(UTC) > self.csrf_token_expiration:
            self.csrf_client_id, self.csrf_token = uuid4(), None
        return add(self, request)

    kind.__init__, kind._add_csrf_headers = begin, add_headers
