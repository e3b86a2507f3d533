"""Which database our own server keeps its runs in, read from the environment an operator gives it.

SQLite in the state folder unless `PREFECT_SERVER_DATABASE_CONNECTION_URL` names another one. That address
carries a password: it is only handed on to the server, and never said, logged or stored.
On SQLite Prefect writes ahead (WAL) with `synchronous=NORMAL`: a power cut can cost the last moments'
states, never the file.
"""

from collections.abc import Mapping

import psutil
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from governor.errors import BadInput
from governor.settings import Home
from governor.state.models import Service

# The second is Prefect's older name of the same setting.
ADDRESS_VARIABLES = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
DRIVERS = {"postgresql+asyncpg": "PostgreSQL", "sqlite+aiosqlite": "SQLite"}


def named_database(environ: Mapping[str, str]) -> URL | None:
    """The address an operator set, None where it is the file in the state folder.

    Raises:
        BadInput: it is not an address, or its driver is not one that Prefect's server has.
    """
    text = next((environ[name] for name in ADDRESS_VARIABLES if environ.get(name)), None)
    if text is None:
        return None
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise _unusable("is not a database address") from None  # the cause would repeat the password
    if url.drivername not in DRIVERS:
        raise _unusable(f"asks for the driver `{url.drivername}`")
    return url


def in_words(environ: Mapping[str, str], where: Home) -> str:
    """The database for a person, without its password: `PostgreSQL at db.lan:5432/prefect`.

    Raises:
        BadInput: as `named_database`.
    """
    url = named_database(environ)
    if url is None:
        return f"SQLite in {where.prefect / 'prefect.db'}"
    if url.host is None and url.database and not url.query.get("host"):
        return f"{DRIVERS[url.drivername]} in {url.database}"
    host = url.host or url.query["host"] if url.host or "host" in url.query else "this machine"
    port = f":{url.port}" if url.port else ""
    return f"{DRIVERS[url.drivername]} at {host}{port}/{url.database or ''}"


def environment_of(row: Service) -> dict[str, str] | None:
    """What a running server was started with; None when its process cannot be read."""
    try:
        return psutil.Process(row.pid or 0).environ()
    except psutil.Error:
        return None


def _unusable(what: str) -> BadInput:
    return BadInput(
        f"{ADDRESS_VARIABLES[0]} {what}.",
        means="Nothing was started.",
        remedy="Set it to postgresql+asyncpg://USER:PASSWORD@HOST:5432/NAME, or unset it: SQLite is used then.",
    )
