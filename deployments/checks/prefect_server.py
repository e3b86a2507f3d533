"""Checks of the Prefect server in use: who it is, how it is guarded, and the limits behind the lines.

One that is not running is a warning; what can only be asked of it is left out then.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from sqlalchemy import func, select

from deployments import database, environment, server
from deployments.checks import Check, failed, passed, warned
from deployments.environment import is_loopback
from deployments.server import ServerFacts
from deployments.services import running
from governor.errors import BadInput, NotReady
from governor.profile import current_profile
from governor.rows import IDLE_SLOT
from governor.settings import Home
from governor.state.models import Service, Slot
from governor.state.sessions import reading


def server_rows(where: Home) -> Iterator[Check]:
    """The port, the server, its address, its guards, its limits."""
    foreign = environment.configured_url(where)
    if foreign is None:
        port = environment.own_port(where)
        owner, url = running(where, environment.SERVER), f"http://127.0.0.1:{port}/api"
        yield _port(where, port, owner is not None)
        yield kept_in(where, owner, os.environ)
        if not server.port_taken(port) or not where.auth_file.exists():
            yield warned("server", "not running", "`hotdesk up` starts it.")
            return
        auth: str | None = where.auth_file.read_text().strip()
    else:
        url, auth = foreign, environment.configured_auth()
    try:
        facts = server.inspect(url, auth)
    except NotReady as error:
        yield failed("server", error.happened, error.remedy)
        return
    yield passed("server", f"Prefect {facts.version} at {url}")
    yield from _guards(facts)
    for line, slots in sorted(current_profile().slots.items()):
        yield limit(where, url, auth, line, slots)


def _port(where: Home, port: int, recorded: bool) -> Check:
    if not server.port_taken(port):
        return passed("port", f"{port} is free")
    if recorded:
        return passed("port", f"{port} is held by our server")
    if where.auth_file.exists():
        try:
            told = server.ask(f"http://127.0.0.1:{port}/api", "/admin/settings", where.auth_file.read_text().strip())
            if isinstance(told, dict) and told.get("home") == str(where.prefect):
                return passed("port", f"{port} is held by this folder's server, started by hand")
        except NotReady:
            pass  # whoever it is, it is not ours: said below
    return failed("port", f"{port} is taken by another program", "Choose another one: HOTDESK_PORT=4300.")


def kept_in(where: Home, owner: Service | None, environ: Mapping[str, str]) -> Check:
    """The database of our own server, without its password; one that runs keeps what it was started with."""
    name = "server database"
    try:
        asked = database.in_words(environ, where)
        started_with = database.environment_of(owner) if owner is not None else None
        used = database.in_words(started_with, where) if started_with is not None else asked
    except BadInput as error:
        return failed(name, error.happened, error.remedy)
    if used != asked:
        remedy = "`hotdesk down` and `hotdesk up` in this shell change it; runs are not carried over."
        return warned(name, f"{used}; this shell asks for {asked}", remedy)
    return passed(name, used)


def _guards(facts: ServerFacts) -> Iterator[Check]:
    if is_loopback(facts.url):
        yield passed("server address", "loopback only")
    else:
        remedy = "Agents' texts travel there; use one on this machine if they must not."
        yield warned("server address", f"{facts.url} is on another machine", remedy)
    own = "A server that `hotdesk up` starts has it; see PREFECT_SERVER_API_AUTH_STRING."
    yield passed("server auth", "required") if facts.auth else warned("server auth", "nobody is asked for a key", own)
    if facts.csrf and facts.cors != "*":
        yield passed("server origins", f"CSRF tokens required, CORS for {facts.cors}")
    else:
        said = f"a page on another origin can post (CSRF {'on' if facts.csrf else 'off'}, CORS {facts.cors})"
        yield warned("server origins", said, "A server that `hotdesk up` starts is closed to them.")
    yield passed("leases", "kept on disk")


def limit(where: Home, url: str, auth: str | None, line: str, slots: int) -> Check:
    """The limit exists, is active, has the profile's size, and nobody unknown holds a slot."""
    name = f"limit {line}"
    try:
        found: dict[str, Any] = server.ask(url, f"/v2/concurrency_limits/{line}", auth)
    except NotReady as error:
        if error.data.get("status") == httpx.codes.NOT_FOUND:
            return failed(name, "does not exist; the desk refuses to run", "`hotdesk bootstrap` makes it.")
        return failed(name, error.happened, error.remedy)
    if not found["active"]:
        return failed(name, "is inactive and lets everybody in", "`hotdesk bootstrap` makes it active again.")
    if found["limit"] != slots:
        return failed(name, f"has {found['limit']} slots, the profile {slots}", "`hotdesk bootstrap` sets it.")
    held, taken = _live_slots(where, line), int(found["active_slots"])
    if taken > held:
        remedy = "A flow outside the line may use it. A lease that nobody renews ends within 75 s; a counter that"
        remedy += " hangs is reset by the governor at its second look (`prefect deployment run govern/governor`)."
        return warned(name, f"{taken} of {slots} slots taken, but {held} seated here", remedy)
    return passed(name, f"active, {taken} of {slots} slots taken")


def _live_slots(where: Home, line: str) -> int:
    if not where.database.exists():
        return 0
    with reading(where.database) as session:
        wanted = select(func.count()).select_from(Slot).where(Slot.line == line, Slot.state.not_in(IDLE_SLOT))
        return session.scalar(wanted) or 0
