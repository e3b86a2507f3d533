"""Which Prefect server this state folder talks to, as environment variables; and its auth string.

Nothing here imports Prefect: its settings are read once, at import, so they must stand in the
environment before. Starting and checking the server is left to `deployments.server`.
"""

import os
import secrets
import shlex
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from deployments.services import running
from governor.errors import BadInput, NotReady
from governor.settings import Home, home
from governor.state.sessions import recall

# Prefect's own default, so that its documentation's addresses fit.
DEFAULT_PORT = 4200
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LEASES_ON_DISK = "prefect.server.concurrency.lease_storage.filesystem"
SERVER = "server"
PORT_KEY = "port"
# 18 random bytes are 24 characters; Prefect compares them in constant time.
SECRET_BYTES = 18
# For our server and worker, never for a shell, whose other Pythons may lack the package. Prefect lists all time zones
# for every schedule that it reads, 4.4 ms from the system's folders and 0.8 ms from the tzdata package (measured).
ZONES = {"PYTHONTZPATH": ""} if find_spec("tzdata") else {}
PROXY_VARIABLES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def auth_string(where: Home) -> str:
    """`user:password` of our own server; made the first time, in a file only its owner can read.

    Raises:
        NotReady: the file can be read by others, is empty, or cannot be written.
    """
    try:
        if not where.auth_file.exists():
            _write_once(where.auth_file, f"hotdesk:{secrets.token_urlsafe(SECRET_BYTES)}\n")
        mode, text = where.auth_file.stat().st_mode & 0o777, where.auth_file.read_text().strip()
    except OSError as error:
        raise NotReady(
            f"The server's auth string {where.auth_file} cannot be used: {error.strerror or error}.",
            remedy="Make the state folder writable, or set HOTDESK_HOME to another folder.",
        ) from error
    if mode & 0o077:
        raise NotReady(
            f"The server's auth string {where.auth_file} can be read by other users (mode {mode:o}).",
            means="Nothing was started.",
            remedy=f"Run `hotdesk down`, remove {where.auth_file} and start again: a new one is made.",
        )
    if ":" not in text:
        raise NotReady(
            f"The server's auth string {where.auth_file} is damaged.",
            remedy="Run `hotdesk down`, remove the file and start again: a new one is made.",
        )
    return text


def _write_once(path: Path, text: str) -> None:
    """Write a private file whole or not at all; whoever comes second keeps the first one's."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, text.encode())
        os.fsync(handle)
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        os.close(handle)
        draft.unlink()


def own_port(where: Home, port: int | None = None) -> int:
    """The port of our own server: as asked, else of the running one, `HOTDESK_PORT`, the last one, 4200.

    Raises:
        BadInput: it is not a port.
    """
    if port is None:
        row = running(where, SERVER)
        named = (urlsplit(row.address or "").port if row else None) or os.environ.get("HOTDESK_PORT")
        port_text = str(named or (recall(PORT_KEY) if where.database.exists() else "") or DEFAULT_PORT)
    else:
        port_text = str(port)
    if not port_text.isdecimal() or not 1 <= int(port_text) <= 65535:
        raise BadInput(f"`{port_text}` is not a port.", remedy="Give a number from 1 to 65535 (HOTDESK_PORT, --port).")
    return int(port_text)


def configured_url(where: Home) -> str | None:
    """API address of a Prefect server that somebody else set up, or None: then ours is used.

    In this order: HOTDESK_PORT asks for ours; `PREFECT_API_URL` in the environment; ours when it
    runs; the active profile of the user's own Prefect.
    """
    if os.environ.get("HOTDESK_PORT") or os.environ.get("PREFECT_HOME") == str(where.prefect):
        return None  # the second: this environment came from `hotdesk env`
    if named := os.environ.get("PREFECT_API_URL"):
        return named.rstrip("/")
    if running(where, SERVER):
        return None
    return profile_value("PREFECT_API_URL", "").rstrip("/") or None


def configured_auth() -> str | None:
    """Auth string for a server that somebody else set up, from the environment or the active profile."""
    return os.environ.get("PREFECT_API_AUTH_STRING") or profile_value("PREFECT_API_AUTH_STRING", "") or None


def profile_value(name: str, default: str) -> str:
    """One setting of the user's active Prefect profile; an unreadable file counts as none."""
    folder = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    path = Path(os.environ.get("PREFECT_PROFILES_PATH", folder / "profiles.toml"))
    try:
        found = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError):
        return default
    active = os.environ.get("PREFECT_PROFILE") or found.get("active", "")
    return str(found.get("profiles", {}).get(active, {}).get(name, default))


def server_environment(where: Home, port: int) -> dict[str, str]:
    """Every variable that our own server, its workers and its clients need; the same for all."""
    origin, auth = f"http://127.0.0.1:{port}", auth_string(where)
    return {
        **_ours(where),
        **_past_the_proxy(),
        "PREFECT_HOME": str(where.prefect),
        "PREFECT_API_URL": f"{origin}/api",
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        # A page on another origin must not be able to post: no auth, no CSRF and `*` are the defaults.
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"{origin},http://localhost:{port}",
        # In memory, a restart leaves the slot taken for good and cancels its holder.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES_ON_DISK,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # Without it a client that lost its address would quietly start a server of its own.
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    }


def client_environment(where: Home | None = None, port: int | None = None) -> dict[str, str]:
    """What a shell or a command needs to talk to this folder's server; `hotdesk env` prints it.

    For a server that somebody else set up only our own settings are added. `port` asks for ours.
    """
    where = where or home()
    url = None if port is not None else configured_url(where)
    if url is None:
        return server_environment(where, own_port(where, port))
    return {**_ours(where), "PREFECT_API_URL": url}


def shell_lines(found: dict[str, str]) -> list[str]:
    """The same as lines that a POSIX shell can `eval`; `hotdesk` and `prefect` are put on its PATH."""
    programs = shlex.quote(str(Path(sys.executable).parent))
    exports = [f"export {name}={shlex.quote(value)}" for name, value in found.items()]
    return [f'case ":$PATH:" in *:{programs}:*) ;; *) export PATH={programs}:"$PATH" ;; esac', *exports]


def apply_client_environment(where: Home | None = None, port: int | None = None) -> dict[str, str]:
    """Put `client_environment` into this process, before anything imports Prefect; returns it."""
    found = client_environment(where, port)
    os.environ.update(found)
    return found


def _ours(where: Home) -> dict[str, str]:
    return {
        "HOTDESK_HOME": str(where.root),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "hotdesk",
        # Our events outside of a flow run (the desk in a terminal) have no run to be sent to.
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        # Results are data of agents: the default, pickle, runs code when it is read.
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "DO_NOT_TRACK": "1",
    }


def _past_the_proxy() -> dict[str, str]:
    """Where a proxy is set, loopback is excepted: Prefect's client would ask the proxy for 127.0.0.1."""
    if not any(os.environ.get(name) for name in PROXY_VARIABLES):
        return {}
    named = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host for host in named.split(",") if host]
    value = ",".join([*hosts, *(host for host in LOOPBACK[:2] if host not in hosts)])
    return {"NO_PROXY": value, "no_proxy": value}


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine alone."""
    return (urlsplit(url).hostname or "") in LOOPBACK


def ui_address(api_url: str) -> str:
    """The page a person opens, from the API's address."""
    parts = urlsplit(api_url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.removesuffix("/api"), "", ""))
