"""The schema's history: an append-only list; `PRAGMA user_version` says how far a file has come.

A list and not alembic: a migration must run inside the same BEGIN IMMEDIATE that every process of
the fleet may be waiting for, at the first connection, in milliseconds, and alembic's environment
costs more to import than the whole line. Rules: never edit an entry that was released, append.
"""

from collections.abc import Callable

from sqlalchemy import Connection, text

from governor.errors import NotReady
from governor.state.models import Base


def _first_schema(connection: Connection) -> None:
    Base.metadata.create_all(connection)


Migration = Callable[[Connection], None]
# Entry i brings a file from version i to i + 1.
MIGRATIONS: list[Migration] = [_first_schema]


def migrate(connection: Connection) -> int:
    """Bring the file up to date inside the caller's transaction; returns the version.

    Raises:
        NotReady: the file was written by a newer hotdesk; it is left untouched.
    """
    version = int(connection.execute(text("PRAGMA user_version")).scalar_one())
    if version > len(MIGRATIONS):
        raise NotReady(
            f"The state folder was written by a newer hotdesk (schema {version}, this one knows {len(MIGRATIONS)}).",
            means="It was left untouched.",
            remedy="Update hotdesk, or set HOTDESK_HOME to another folder.",
        )
    for step in MIGRATIONS[version:]:
        step(connection)
    if version < len(MIGRATIONS):
        connection.execute(text(f"PRAGMA user_version = {len(MIGRATIONS)}"))
    return len(MIGRATIONS)
