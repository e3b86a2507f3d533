"""Which database our own server keeps its runs in, read from the environment an operator gives it.

SQLite in the state folder unless `PREFECT_SERVER_DATABASE_CONNECTION_URL` names another one, or
`PREFECT_SERVER_DATABASE_DRIVER`, `_HOST` and so on do. They carry a password: it is never said, logged or stored, and
of our services only the server inherits it (`deployments.services`).
On SQLite Prefect writes ahead (WAL) with `synchronous=NORMAL`: a power cut can cost the last moments'
states, never the file.
"""

from collections.abc import Mapping

import psutil
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from deployments.services import OF_DATABASE
from governor.errors import BadInput
from governor.settings import Home
from governor.state.models import Service

DRIVERS = {"postgresql+asyncpg": "PostgreSQL", "sqlite+aiosqlite": "SQLite"}
SQLITE = "sqlite+aiosqlite"
# What Prefect asks for with the driver of PostgreSQL, and the port it takes where none is given.
NEEDED, POSTGRESQL_PORT = ("HOST", "USER", "NAME"), "5432"


def named_database(environ: Mapping[str, str]) -> URL | None:
    """The address an operator set, whole or in parts; None where it is the file in the state folder.

    One of parts has no password.

    Raises:
        BadInput: it is not an address, a part is missing, or its driver is not one that Prefect's server has.
    """
    text = _value(environ, "CONNECTION_URL")
    if text is None:
        return _of_parts(environ)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise _unusable("CONNECTION_URL", "is not a database address") from None  # the cause would repeat the password
    if url.drivername not in DRIVERS:
        raise _unusable("CONNECTION_URL", f"asks for the driver `{url.drivername}`")
    return url


def _of_parts(environ: Mapping[str, str]) -> URL | None:
    """As Prefect puts them together: without a driver the others count for nothing."""
    driver, name = _value(environ, "DRIVER"), _value(environ, "NAME")
    if driver is None or (driver == SQLITE and name is None):
        return None
    if driver not in DRIVERS:
        raise _unusable("DRIVER", f"is `{driver}`")
    if driver == SQLITE:
        return URL.create(driver, database=name)
    if missing := [part for part in NEEDED if _value(environ, part) is None]:
        raise _unusable("DRIVER", f"needs also {', '.join(OF_DATABASE[0] + part for part in missing)}")
    port = _value(environ, "PORT") or POSTGRESQL_PORT
    if not port.isdecimal():
        raise _unusable("PORT", "is not a number")
    return URL.create(driver, host=_value(environ, "HOST"), port=int(port), database=name)


def _value(environ: Mapping[str, str], part: str) -> str | None:
    """One setting; each has two names, the second is Prefect's older one."""
    return next((environ[start + part] for start in OF_DATABASE if environ.get(start + part)), None)


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


def _unusable(part: str, what: str) -> BadInput:
    start = OF_DATABASE[0]
    address = f"{start}CONNECTION_URL to postgresql+asyncpg://USER:PASSWORD@HOST:5432/NAME"
    return BadInput(
        f"{start}{part} {what}.",
        means="Nothing was started.",
        remedy=f"Set {address}, or unset {start}*: SQLite is used then.",
    )
