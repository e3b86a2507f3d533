"""The tables about agents: what they were answered before, and what their operators told them."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from governor.state.residents import Base


class Remembered(Base):
    """What a model answered an agent to one request: what has not changed is not asked again.

    Attributes:
        digest: sha256 of all that the request says. tries: how often it was asked; `problems` of the latest.
    """

    __tablename__ = "remembered"
    __table_args__: ClassVar[Any] = {"sqlite_with_rowid": False}

    agent: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str]
    verified: Mapped[bool]
    problems: Mapped[list[str]] = mapped_column(JSON)
    tries: Mapped[int]
    tier: Mapped[str]
    model: Mapped[str]
    demo: Mapped[bool]
    parameters_billion: Mapped[float]
    at: Mapped[datetime]


class AgentUse(Base):
    """What an operator told one agent in place of what `prefect.yaml` says: it survives upgrades.

    Attributes:
        agent: FLOW/DEPLOYMENT. parameters: those that differ. deployed: all that the server was told last.
    """

    __tablename__ = "agent_uses"

    agent: Mapped[str] = mapped_column(primary_key=True)
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    deployed: Mapped[dict[str, Any]] = mapped_column(JSON)
    updated_at: Mapped[datetime]
