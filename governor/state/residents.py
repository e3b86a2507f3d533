"""The tables about memory: models in it, what they were measured to take, what was said about them, what comes."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from governor.state.models import AUTOINCREMENT, Base, ProcessColumns


class Resident(ProcessColumns, Base):
    """A model in memory (or on its way in or out), and the engine process that holds it.

    state: loading, resident, unloading, gone. `claimed_by` is the ticket that uses or loads it,
    NULL when idle; only who claimed an idle row may unload it: `unloader` is the identity of that
    process. `address` is the base URL.

    Attributes:
        memory: where it lives, `vram` or `ram`. memory_mib: what it takes there, reserved before it is measured.
        pids: processes that hold its memory, so far as the engine can tell.
        free_before_mib: what was free before it came, and never since: the baseline of its giving back.
        stuck_at: since when it is known to have given nothing back after an unload.
    """

    __tablename__ = "residents"
    __table_args__ = AUTOINCREMENT

    id: Mapped[int] = mapped_column(primary_key=True)
    engine: Mapped[str]
    model: Mapped[str]
    context_tokens: Mapped[int]
    line: Mapped[str]
    state: Mapped[str] = mapped_column(default="loading")
    claimed_by: Mapped[int | None]
    unloader: Mapped[dict[str, Any] | None]
    address: Mapped[str | None]
    api_key: Mapped[str | None]
    memory: Mapped[str] = mapped_column(default="ram")
    cache_type: Mapped[str] = mapped_column(default="f16")
    engine_slots: Mapped[int] = mapped_column(default=1)
    pids: Mapped[list[Any]] = mapped_column(default=list)
    free_before_mib: Mapped[float | None]
    stuck_at: Mapped[datetime | None]
    memory_mib: Mapped[float | None]
    load_seconds: Mapped[float | None]
    loaded_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    reason: Mapped[str | None]


class LearnedFootprint(Base):
    """What a model took whenever it was loaded just so, measured. Updated by Welford's method.

    Attributes:
        place: `ram`, or the uuid of the card: another card has another driver context.
        loads: how many measurements. squares: sum of their squared deviations from the mean.
        highest_mib: the most that was seen, first use included.
        load_seconds: mean time of a load.
    """

    __tablename__ = "footprints"

    engine: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    context_tokens: Mapped[int] = mapped_column(primary_key=True)
    cache_type: Mapped[str] = mapped_column(primary_key=True)
    engine_slots: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[str] = mapped_column(primary_key=True)
    loads: Mapped[int] = mapped_column(default=0)
    mean_mib: Mapped[float] = mapped_column(default=0.0)
    squares: Mapped[float] = mapped_column(default=0.0)
    highest_mib: Mapped[float] = mapped_column(default=0.0)
    load_seconds: Mapped[float] = mapped_column(default=0.0)
    measured_at: Mapped[datetime]


class Keeping(Base):
    """What an operator said about one model: pinned or not, and how long it may stay idle (None: as usual)."""

    __tablename__ = "keepings"

    model: Mapped[str] = mapped_column(primary_key=True)
    pinned: Mapped[bool] = mapped_column(default=False)
    keep_alive_seconds: Mapped[float | None]


class ExpectedUse(Base):
    """A use of a model that Prefect's schedule tells beforehand; replaced as a whole at every look."""

    __tablename__ = "expected_uses"
    __table_args__ = (Index("expected_uses_by_time", "at"), AUTOINCREMENT)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    agent: Mapped[str]
    model: Mapped[str]
