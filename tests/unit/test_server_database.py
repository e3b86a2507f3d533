"""Which database the server's runs are kept in is said without its password, and refused before a start."""

import pytest
from prefect.settings import Settings
from sqlalchemy import make_url

from deployments.checks.prefect_server import kept_in
from deployments.database import in_words, named_database
from governor.errors import BadInput
from governor.settings import Home

NAME, OLD_NAME = "PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL"
SECRET = "s3cr%40t"
PART = "PREFECT_SERVER_DATABASE_"
PARTS = {
    f"{PART}DRIVER": "postgresql+asyncpg",
    f"{PART}HOST": "db.lan",
    f"{PART}USER": "me",
    f"{PART}NAME": "runs",
    f"{PART}PASSWORD": SECRET,
}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "SQLite in {home}/prefect/prefect.db"),
        ({NAME: ""}, "SQLite in {home}/prefect/prefect.db"),
        ({NAME: f"postgresql+asyncpg://me:{SECRET}@db.lan:5433/runs"}, "PostgreSQL at db.lan:5433/runs"),
        ({NAME: f"postgresql+asyncpg://me:{SECRET}@db.lan/runs"}, "PostgreSQL at db.lan/runs"),
        ({NAME: f"postgresql+asyncpg://me:{SECRET}@/runs?host=/run/pg"}, "PostgreSQL at /run/pg/runs"),
        ({OLD_NAME: f"postgresql+asyncpg://me:{SECRET}@old/runs"}, "PostgreSQL at old/runs"),
        ({NAME: "sqlite+aiosqlite:////srv/runs.db"}, "SQLite in /srv/runs.db"),
        (PARTS, "PostgreSQL at db.lan:5432/runs"),
        ({**PARTS, f"{PART}PORT": "5433"}, "PostgreSQL at db.lan:5433/runs"),
        ({key.replace("SERVER", "API"): value for key, value in PARTS.items()}, "PostgreSQL at db.lan:5432/runs"),
        ({**PARTS, NAME: "sqlite+aiosqlite:////srv/runs.db"}, "SQLite in /srv/runs.db"),
        ({**PARTS, f"{PART}DRIVER": ""}, "SQLite in {home}/prefect/prefect.db"),
        ({f"{PART}DRIVER": "sqlite+aiosqlite", f"{PART}NAME": "/srv/runs.db"}, "SQLite in /srv/runs.db"),
        ({f"{PART}DRIVER": "sqlite+aiosqlite"}, "SQLite in {home}/prefect/prefect.db"),
    ],
)
def test_the_database_is_named_without_its_password(environ: dict[str, str], said: str, hotdesk_home: Home):
    found = in_words(environ, hotdesk_home)
    assert found == said.format(home=hotdesk_home.root)
    assert SECRET not in found and "s3cr@t" not in found


@pytest.mark.parametrize(
    "address", [f"postgresql://me:{SECRET}@db/runs", f"mysql+aiomysql://me:{SECRET}@db/runs", f"{SECRET} is no address"]
)
def test_an_address_prefect_cannot_use_is_refused_and_its_password_not_repeated(address: str, hotdesk_home: Home):
    with pytest.raises(BadInput) as caught:
        named_database({NAME: address})
    assert SECRET not in str(caught.value) and caught.value.__cause__ is None
    row = kept_in(hotdesk_home, None, {NAME: address})
    assert row.outcome == "fail" and SECRET not in row.said + row.remedy


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"HOST": "", "USER": ""}, f"{PART}DRIVER needs also {PART}HOST, {PART}USER."),
        ({"DRIVER": "mysql+aiomysql"}, f"{PART}DRIVER is `mysql+aiomysql`."),
        ({"PORT": "many"}, f"{PART}PORT is not a number."),
    ],
)
def test_parts_that_prefect_cannot_use_are_refused_and_the_one_is_named(change: dict[str, str], said: str):
    with pytest.raises(BadInput) as caught:
        named_database({**PARTS, **{PART + part: value for part, value in change.items()}})
    assert caught.value.happened == said and SECRET not in str(caught.value)


def test_parts_are_put_together_as_prefect_does(monkeypatch: pytest.MonkeyPatch):
    for name, value in PARTS.items():
        monkeypatch.setenv(name, value)
    told, ours = Settings().server.database.connection_url, named_database(PARTS)
    assert told is not None and ours is not None
    theirs = make_url(told.get_secret_value())
    assert (theirs.drivername, theirs.host, theirs.port, theirs.database) == (
        *(ours.drivername, ours.host, ours.port, ours.database),
    )
