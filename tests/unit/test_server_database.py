"""Which database the server's runs are kept in is said without its password, and refused before a start."""

import pytest

from deployments.checks.prefect_server import kept_in
from deployments.database import in_words, named_database
from governor.errors import BadInput
from governor.settings import Home

NAME, OLD_NAME = "PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL"
SECRET = "s3cr%40t"


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
