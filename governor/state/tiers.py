"""The tables about tiers: what of an allowance is used, which tier is closed, what models are known to do well."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from governor.state.models import AUTOINCREMENT
from governor.state.residents import Base


class AllowanceUse(Base):
    """One call to a cloud tier, written before it is made.

    state: reserved (on its way, or its process died: it counts), used (answered; `tokens` and `usd` are what it
    took), returned (it never left this machine and counts for nothing).

    Attributes:
        tokens: in and out together; an estimate until the answer says better.
        usd: what it costs; 0 within a free tier.
        due: whether somebody waits for it by a certain time.
    """

    __tablename__ = "allowance_uses"
    __table_args__ = (
        Index("allowance_uses_by_tier", "tier", "at", "state", "tokens"),
        Index("allowance_uses_paid", "at", sqlite_where=text("usd > 0")),
        AUTOINCREMENT,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    tier: Mapped[str]
    at: Mapped[datetime]
    state: Mapped[str] = mapped_column(default="reserved")
    tokens: Mapped[int] = mapped_column(default=0)
    usd: Mapped[float] = mapped_column(default=0.0)
    due: Mapped[bool] = mapped_column(default=False)
    agent: Mapped[str] = mapped_column(default="")


class AllowanceHour(Base):
    """What began in one hour (UTC) at one tier, of all that counts: a month is looked up without its every call."""

    __tablename__ = "allowance_hours"
    __table_args__: ClassVar[Any] = {"sqlite_with_rowid": False}

    tier: Mapped[str] = mapped_column(primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    requests: Mapped[int]
    tokens: Mapped[int]


class TierState(Base):
    """What one process learned about a cloud tier, for all others.

    Attributes:
        closed_until: nobody calls it before; None: open.
        closed_for: as in `governor.tier_states.Closed`. why: in words.
        key_digest: of the key that was refused (`governor.key_digests`); None: closed whatever the key.
        failures: in a row, of its own making (no answer, 5xx).
    """

    __tablename__ = "tier_states"

    tier: Mapped[str] = mapped_column(primary_key=True)
    closed_until: Mapped[datetime | None]
    closed_for: Mapped[str] = mapped_column(default="")
    why: Mapped[str] = mapped_column(default="")
    key_digest: Mapped[str | None]
    failures: Mapped[int] = mapped_column(default=0)
    updated_at: Mapped[datetime]


class Gain(Base):
    """How often a model's answer to one agent's work of one kind passed its checks."""

    __tablename__ = "gains"

    kind: Mapped[str] = mapped_column(primary_key=True)
    agent: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    tried: Mapped[int] = mapped_column(default=0)
    verified: Mapped[int] = mapped_column(default=0)
    updated_at: Mapped[datetime]


class Learned(Base):
    """What was learned about which prompts a model answers well: the weights of a predictor.

    Attributes:
        examples: verified outcomes that it saw. loss, base_loss: sums of the log loss of what it said before each of
            them, and of what the gain table said.
    """

    __tablename__ = "learned"

    kind: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    examples: Mapped[int] = mapped_column(default=0)
    loss: Mapped[float] = mapped_column(default=0.0)
    base_loss: Mapped[float] = mapped_column(default=0.0)
    weights: Mapped[bytes]
    updated_at: Mapped[datetime]
