"""The schema's history: an append-only list; `PRAGMA user_version` says how far a file has come.

A list and not alembic: a migration must run inside the same BEGIN IMMEDIATE that every process of
the fleet may be waiting for, at the first connection, in milliseconds, and alembic's environment
costs more to import than the whole line. Rules: never edit an entry that was released, append.
"""

from collections.abc import Callable

from sqlalchemy import Connection, text

from governor.errors import NotReady
from governor.state import agents, tiers  # noqa: F401  # their tables
from governor.state.models import NO_BUDGET_SECONDS, Base


def _create(connection: Connection) -> None:
    """A new file gets the present tables at once; the steps below bring older files to the same."""
    Base.metadata.create_all(connection)


def _hand_over(connection: Connection) -> None:
    """0.2.0: a lease is handed from seat to seat, so a slot knows since when and a ticket whether it sleeps."""
    for table, column in (
        ("tickets", "overtaken INTEGER NOT NULL DEFAULT 0"),
        ("tickets", "asleep BOOLEAN NOT NULL DEFAULT 0"),
        ("tickets", "work_seconds FLOAT NOT NULL DEFAULT 0"),
        ("tickets", "since_s FLOAT NOT NULL DEFAULT 0"),
        ("tickets", "lease_reclaimed BOOLEAN NOT NULL DEFAULT 0"),
        ("slots", "since_s FLOAT NOT NULL DEFAULT 0"),
        ("slots", "budget_seconds FLOAT NOT NULL DEFAULT 0"),
        ("slots", "renewed_at DATETIME"),
        ("slots", "last_model VARCHAR"),
        ("slots", "passed JSON NOT NULL DEFAULT '[]'"),
    ):
        connection.execute(text(f"ALTER TABLE {table} ADD COLUMN {column}"))
    # A process of the release before, at the desk or on its way there, writes no budget: it has no end.
    connection.execute(text(f"UPDATE slots SET budget_seconds = {NO_BUDGET_SECONDS}"))
    connection.execute(text("CREATE INDEX tickets_by_state ON tickets (line, state, id)"))


def _residency(connection: Connection) -> None:
    """0.3.0: residents know where they live and what they were measured to take; footprints are learned."""
    for column in (
        "memory VARCHAR NOT NULL DEFAULT 'ram'",
        "cache_type VARCHAR NOT NULL DEFAULT 'f16'",
        "engine_slots INTEGER NOT NULL DEFAULT 1",
        "pids JSON NOT NULL DEFAULT '[]'",
        "free_before_mib FLOAT",
        "stuck_at DATETIME",
    ):
        connection.execute(text(f"ALTER TABLE residents ADD COLUMN {column}"))
    for table in (
        "footprints (engine VARCHAR NOT NULL, model VARCHAR NOT NULL, context_tokens INTEGER NOT NULL,"
        " cache_type VARCHAR NOT NULL, engine_slots INTEGER NOT NULL, place VARCHAR NOT NULL, loads INTEGER NOT NULL,"
        " mean_mib FLOAT NOT NULL, squares FLOAT NOT NULL, highest_mib FLOAT NOT NULL, load_seconds FLOAT NOT NULL,"
        " measured_at DATETIME NOT NULL,"
        " PRIMARY KEY (engine, model, context_tokens, cache_type, engine_slots, place))",
        "keepings (model VARCHAR NOT NULL PRIMARY KEY, pinned BOOLEAN NOT NULL, keep_alive_seconds FLOAT)",
        "expected_uses (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, at DATETIME NOT NULL, agent VARCHAR NOT NULL,"
        " model VARCHAR NOT NULL)",
    ):
        connection.execute(text(f"CREATE TABLE {table}"))
    connection.execute(text("CREATE INDEX expected_uses_by_time ON expected_uses (at)"))


def _governor(connection: Connection) -> None:
    """0.4.0: lines can be paused, looks say whose they were, decisions how soon the model began to speak."""
    for table, column in (
        ("decisions", "first_token_seconds FLOAT NOT NULL DEFAULT 0"),
        ("governor_ticks", "by VARCHAR NOT NULL DEFAULT 'govern'"),
    ):
        connection.execute(text(f"ALTER TABLE {table} ADD COLUMN {column}"))
    connection.execute(text("CREATE INDEX governor_ticks_by_time ON governor_ticks (at)"))
    connection.execute(
        text(
            "CREATE TABLE pauses (line VARCHAR NOT NULL, by VARCHAR NOT NULL, since DATETIME NOT NULL,"
            " until DATETIME, reason VARCHAR NOT NULL, evict BOOLEAN NOT NULL, PRIMARY KEY (line, by))"
        )
    )


def _router(connection: Connection) -> None:
    """0.5.0: cloud tiers have allowances, models a record of what they do well, decisions say all that was weighed."""
    for column in (
        "request_id VARCHAR NOT NULL DEFAULT ''",
        "attempt INTEGER NOT NULL DEFAULT 1",
        "line VARCHAR NOT NULL DEFAULT ''",
        "privacy VARCHAR NOT NULL DEFAULT 'local_only'",
        "quality VARCHAR",
        "due_at DATETIME",
        "candidates JSON NOT NULL DEFAULT '[]'",
        "energy_joules FLOAT",
        "shadow_usd FLOAT",
    ):
        connection.execute(text(f"ALTER TABLE decisions ADD COLUMN {column}"))
    for table in (
        "allowance_uses (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, tier VARCHAR NOT NULL, at DATETIME NOT NULL,"
        " state VARCHAR NOT NULL, tokens INTEGER NOT NULL, usd FLOAT NOT NULL, due BOOLEAN NOT NULL,"
        " agent VARCHAR NOT NULL)",
        "allowance_hours (tier VARCHAR NOT NULL, hour DATETIME NOT NULL, requests INTEGER NOT NULL,"
        " tokens INTEGER NOT NULL, PRIMARY KEY (tier, hour)) WITHOUT ROWID",
        "tier_states (tier VARCHAR NOT NULL PRIMARY KEY, closed_until DATETIME, closed_for VARCHAR NOT NULL,"
        " why VARCHAR NOT NULL, key_digest VARCHAR, failures INTEGER NOT NULL, updated_at DATETIME NOT NULL)",
        "gains (kind VARCHAR NOT NULL, agent VARCHAR NOT NULL, model VARCHAR NOT NULL, tried INTEGER NOT NULL,"
        " verified INTEGER NOT NULL, updated_at DATETIME NOT NULL, PRIMARY KEY (kind, agent, model))",
        "learned (kind VARCHAR NOT NULL, model VARCHAR NOT NULL, examples INTEGER NOT NULL, loss FLOAT NOT NULL,"
        " base_loss FLOAT NOT NULL, weights BLOB NOT NULL, updated_at DATETIME NOT NULL, PRIMARY KEY (kind, model))",
    ):
        connection.execute(text(f"CREATE TABLE {table}"))
    connection.execute(text("CREATE INDEX decisions_by_run ON decisions (flow_run_id)"))
    connection.execute(text("CREATE INDEX decisions_by_request ON decisions (request_id)"))
    connection.execute(text("CREATE INDEX allowance_uses_by_tier ON allowance_uses (tier, at, state, tokens)"))
    connection.execute(text("CREATE INDEX allowance_uses_paid ON allowance_uses (at) WHERE usd > 0"))


def _fleet(connection: Connection) -> None:
    """0.6.0: agents remember what they were answered, and what their operators told them."""
    connection.execute(text("ALTER TABLE agent_runs ADD COLUMN calls_remembered INTEGER NOT NULL DEFAULT 0"))
    for table in (
        "remembered (agent VARCHAR NOT NULL, digest VARCHAR NOT NULL, text VARCHAR NOT NULL, verified BOOLEAN NOT NULL,"
        " problems JSON NOT NULL, tries INTEGER NOT NULL, tier VARCHAR NOT NULL, model VARCHAR NOT NULL,"
        " demo BOOLEAN NOT NULL, parameters_billion FLOAT NOT NULL, at DATETIME NOT NULL,"
        " PRIMARY KEY (agent, digest)) WITHOUT ROWID",
        "agent_uses (agent VARCHAR NOT NULL PRIMARY KEY, parameters JSON NOT NULL, deployed JSON NOT NULL,"
        " updated_at DATETIME NOT NULL)",
    ):
        connection.execute(text(f"CREATE TABLE {table}"))


Migration = Callable[[Connection], None]
# Entry i brings a file from version i to i + 1; a new file is made by the first and needs no other.
MIGRATIONS: list[Migration] = [_create, _hand_over, _residency, _governor, _router, _fleet]


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
    for step in MIGRATIONS[version:] if version else MIGRATIONS[:1]:
        step(connection)
    if version < len(MIGRATIONS):
        connection.execute(text(f"PRAGMA user_version = {len(MIGRATIONS)}"))
    return len(MIGRATIONS)
