"""The state database of a schedule, in memory, and looks at it between transactions."""

from typing import Any, NamedTuple

from sqlalchemy import delete, insert
from sqlalchemy.pool import StaticPool

from governor.pause_rows import PAUSE
from governor.policy.ordering import OrderRules
from governor.rows import SETTING, SLOT, TICKET, order_key
from governor.state.models import Base
from governor.state.sessions import engine_for

ENGINE = engine_for("sqlite://", poolclass=StaticPool, begin=False)
Base.metadata.create_all(ENGINE, tables=[TICKET, SLOT, SETTING, PAUSE])

# The one connection of the pool, for looks between transactions that cost next to nothing.
DRIVER: Any = ENGINE.raw_connection().driver_connection


class SlotRow(NamedTuple):
    """A slot as the invariants see it."""

    number: int
    fence: int
    state: str


def set_up(slots: int, rules: OrderRules) -> None:
    """Forget the schedule before; this one has so many free slots and serves by these rules."""
    with ENGINE.begin() as db:
        for table in (SLOT, TICKET, SETTING, PAUSE):
            db.execute(delete(table))
        db.execute(insert(SETTING).values(key=order_key("gpu"), value=rules.model_dump_json()))
        for index in range(slots):
            db.execute(insert(SLOT).values(line="gpu", index=index))


def slot_rows() -> list[SlotRow]:
    """Every slot as it stands."""
    return [SlotRow(*row) for row in DRIVER.execute('SELECT "index", fence, state FROM slots').fetchall()]
