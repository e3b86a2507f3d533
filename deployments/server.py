"""The Prefect server: use the configured one, or run our own on loopback; refuse one that loses leases.

Ours is found again by its recorded identity, and it must be our process that owns the port: whoever
else answers there is a stranger. What the server is told is `deployments.environment`.
"""

import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from deployments import database, environment
from deployments.bootstrap_names import OLD_WORKERS
from deployments.environment import SERVER, is_loopback, ui_address
from deployments.services import is_alive, last_lines, log_file, running, start_service, stop_all, stop_service
from deployments.versions import refuse_wrong_versions
from governor.errors import NotReady
from governor.events import log_event
from governor.settings import Home
from governor.state.models import Service
from governor.state.sessions import remember

# A cold start on a busy machine with 2 cores took 40 s (no bytecode yet); 5-8 s is usual.
START_SECONDS = 90.0
# On SIGTERM the server ends its loops and websockets first: 1-3 s measured.
STOP_SECONDS = 10.0
LOOK_EVERY_SECONDS = 0.2
SAY_EVERY_SECONDS = 5.0
REQUEST_SECONDS = 10.0
SERVER_PROCESS = "deployments.server_process"
Say = Callable[[str], None]


@dataclass(frozen=True)
class ServerFacts:
    """A server that passed every check. `url` is the API's address, `ours` whether this folder runs it.

    `auth`, `csrf` and `cors` are what the server itself says that it was told.
    """

    url: str
    ui_url: str
    ours: bool
    version: str
    lease_storage: str
    auth: bool
    csrf: bool
    cors: str
    home: str


def ensure_server(where: Home, port: int | None = None, *, say: Say | None = None) -> ServerFacts:
    """A server that keeps its leases on disk: the configured one, the running one, or a new one.

    Raises:
        BadInput: the address of the database cannot be used.
        NotReady: an installed package is a version known to break silently; the port is taken by a
            stranger; the server does not answer in time, refuses our auth string, or keeps its
            leases in memory.
    """
    refuse_wrong_versions()
    stop_all(where, OLD_WORKERS)  # before a pool of theirs is replaced, or they would take runs out of it meanwhile
    url = None if port is not None else environment.configured_url(where)
    if url is not None:
        return inspect(url, environment.configured_auth())
    chosen, row = environment.own_port(where, port), running(where, SERVER)
    address = f"http://127.0.0.1:{chosen}/api"
    if row is not None and row.address != address:
        raise NotReady(
            f"This state folder's server already runs at {row.address}.",
            means="It goes on undisturbed.",
            remedy="Leave out --port, or stop it first with `hotdesk down`.",
        )
    if row is None and port_taken(chosen):
        return _started_by_hand(where, address, chosen)
    return _run_own(where, address, chosen, say or (lambda _text: None))


def inspect(url: str, auth: str | None, *, ours: bool = False) -> ServerFacts:
    """Ask a server what it is, and refuse it if the line would not be safe with it.

    Raises:
        NotReady: it does not answer, refuses the auth string, or keeps its leases in memory.
    """
    settings, version = ask(url, "/admin/settings", auth), ask(url, "/admin/version", auth)
    facts = _facts(url, settings, str(version), ours)
    if facts.lease_storage != environment.LEASES_ON_DISK:
        raise NotReady(
            f"The Prefect server at {url} keeps its leases in `{facts.lease_storage}`: a restart loses them,"
            " the slot stays taken for good and its holder is cancelled.",
            means="Nothing was started.",
            remedy=f"Start that server with PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE={environment.LEASES_ON_DISK},"
            " or unset PREFECT_API_URL so that `hotdesk up` starts its own.",
        )
    return facts


def ask(url: str, path: str, auth: str | None) -> Any:
    """One GET, answered as JSON. Loopback is asked directly, whatever proxy is set.

    Raises:
        NotReady: no answer, not a Prefect server, or the auth string is refused. data: `status`.
    """
    user, _, password = (auth or "").partition(":")
    try:
        with httpx.Client(timeout=REQUEST_SECONDS, trust_env=not is_loopback(url)) as client:
            answer = client.get(url + path, auth=(user, password) if auth else None)
            if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
                raise _refused(url)
            return answer.raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None
        raise NotReady(
            f"No Prefect server answers at {url} ({type(error).__name__}).",
            means="Nothing was started.",
            remedy="Start that server, or unset PREFECT_API_URL so that `hotdesk up` starts its own.",
            status=status,
        ) from error


def answers(url: str) -> bool:
    """Whether `/health` answers; never `/openapi.json`, which blocks the server for seconds."""
    try:
        with httpx.Client(timeout=REQUEST_SECONDS, trust_env=not is_loopback(url)) as client:
            return client.get(f"{url}/health").json() is True
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False


def port_taken(port: int) -> bool:
    """Whether anybody listens on this loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def owns_port(pid: int, port: int) -> bool:
    """Whether that process itself listens on the port. Unreadable counts as no."""
    try:
        found = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(item.status == psutil.CONN_LISTEN and item.laddr and item.laddr.port == port for item in found)


def _facts(url: str, settings: Any, version: str, ours: bool) -> ServerFacts:
    try:
        server = settings["server"]
        return ServerFacts(
            url=url,
            ui_url=ui_address(url),
            ours=ours,
            version=version,
            lease_storage=str(server["concurrency"]["lease_storage"]),
            auth=server["api"]["auth_string"] is not None,
            csrf=bool(server["api"]["csrf_protection_enabled"]),
            cors=str(server["api"]["cors_allowed_origins"]),
            home=str(settings["home"]),
        )
    except (KeyError, TypeError) as error:
        raise NotReady(
            f"The Prefect server at {url} (version {version}) does not say how it keeps its leases.",
            means="Nothing was started.",
            remedy="Use a Prefect server from 3.8.8 on, or unset PREFECT_API_URL so that `hotdesk up` starts its own.",
        ) from error


def _started_by_hand(where: Home, address: str, port: int) -> ServerFacts:
    """Whoever holds our port: the same server started with `prefect server start`, or a stranger."""
    stranger = NotReady(
        f"Port {port} is taken by another program.",
        means="Nothing was started, and that program was left alone.",
        remedy="Choose another one: `hotdesk up --port 4300`, or HOTDESK_PORT=4300.",
        port=port,
    )
    try:
        settings = ask(address, "/admin/settings", environment.auth_string(where))
    except NotReady as error:
        raise stranger from error
    if not isinstance(settings, dict) or settings.get("home") != str(where.prefect):
        raise stranger
    return inspect(address, environment.auth_string(where))


def _run_own(where: Home, address: str, port: int, say: Say) -> ServerFacts:
    known = _of_this_version(where, say)
    if known is None:
        say(f"runs are kept in {database.in_words(os.environ, where)}")
    env = {**environment.server_environment(where, port), **environment.ZONES}
    argv = [sys.executable, "-m", SERVER_PROCESS, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    row = known or start_service(where, SERVER, argv, env=env, address=address)
    remember(environment.PORT_KEY, str(port))
    try:
        _wait_healthy(where, row, port, say)
        return inspect(address, environment.auth_string(where), ours=True)
    except BaseException:  # also Ctrl-C: a server that nobody could use is not left behind
        if known is None:
            stop_service(where, SERVER, grace_seconds=STOP_SECONDS)
        raise


def _of_this_version(where: Home, say: Say) -> Service | None:
    """Our running server; one that an earlier version left running is stopped, since it would stand still at times."""
    known = running(where, SERVER)
    try:
        of_before = known is not None and SERVER_PROCESS not in psutil.Process(known.pid).cmdline()
    except psutil.Error:
        return known
    if not of_before:
        return known
    say("the server of an earlier version is stopped, and started anew")
    stop_service(where, SERVER, grace_seconds=STOP_SECONDS)
    return None


def _wait_healthy(where: Home, row: Service, port: int, say: Say) -> None:
    """Until our own process listens and answers; it dying or taking too long ends the wait."""
    begun, pid = time.monotonic(), row.pid or 0
    next_word = SAY_EVERY_SECONDS
    while True:
        waited = time.monotonic() - begun
        if not is_alive(row) or waited > START_SECONDS:
            raise _did_not_start(where, port, waited, dead=not is_alive(row))
        if owns_port(pid, port) and answers(row.address or ""):
            log_event("server_ready", seconds=waited, port=port)
            return
        if waited > next_word:
            say(f"waiting for the Prefect server ({waited:.0f} s)")
            next_word += SAY_EVERY_SECONDS
        time.sleep(LOOK_EVERY_SECONDS)


def _did_not_start(where: Home, port: int, waited: float, *, dead: bool) -> NotReady:
    if dead and port_taken(port):
        return NotReady(
            f"Port {port} was taken by another program while the server started.",
            remedy="Choose another one: `hotdesk up --port 4300`.",
            port=port,
        )
    log = log_file(where, SERVER)
    what = "ended" if dead else "did not answer"
    return NotReady(
        f"The Prefect server {what} after {waited:.0f} s. Its log ends with:\n{last_lines(log)}\n",
        remedy=f"Read {log}; `hotdesk doctor` checks the versions that are known to break it.",
    )


def _refused(url: str) -> NotReady:
    return NotReady(
        f"The Prefect server at {url} refuses the auth string.",
        means="Nothing was started.",
        remedy='For our own server run `eval "$(hotdesk env)"`; for another one set PREFECT_API_AUTH_STRING.',
    )
