"""The tables, as typed SQLAlchemy models; those about memory are in `residents`, those about tiers in `tiers`.

Their history is in `migrations`.
Every time is an aware UTC datetime; states are plain strings with their values in the docstring.
"""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, ForeignKey, Index, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from governor.processes import Identity

# Thirty years: a slot whose occupant set no bound. Also what a process of 0.1.0 has, which knows no budgets.
NO_BUDGET_SECONDS = 1e9
# SQLite reuses the highest row id after a delete unless told not to; a ticket id must never repeat.
AUTOINCREMENT: Any = {"sqlite_autoincrement": True}


class UtcTime(TypeDecorator[datetime]):
    """SQLite keeps no time zone: store UTC, hand back aware."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Refuse naive times: they are a bug, not a local time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime: pass an aware one")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Attach UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcTime, dict[str, Any]: JSON, list[Any]: JSON}


class ProcessColumns:
    """Identity of the process that owns a row; all NULL where none does."""

    boot_id: Mapped[str | None]
    pid_namespace: Mapped[str | None]
    pid: Mapped[int | None]
    start_ticks: Mapped[int | None]

    @property
    def identity(self) -> Identity | None:
        """The owner, or None."""
        if self.pid is None:
            return None
        return Identity(self.boot_id or "", self.pid_namespace or "", self.pid, self.start_ticks or 0)

    @identity.setter
    def identity(self, owner: Identity | None) -> None:
        self.boot_id = owner.boot_id if owner else None
        self.pid_namespace = owner.pid_namespace if owner else None
        self.pid = owner.pid if owner else None
        self.start_ticks = owner.start_ticks if owner else None


class Ticket(ProcessColumns, Base):
    """A place in a line. Order is by id, which never repeats.

    state: waiting, asking (an increment is in flight), offered (a lease waits to be accepted), seated,
    then one of done, left, reaped.

    Attributes:
        asleep: an offer went by unanswered; the place is kept, the next offer goes to somebody awake.
        overtaken: how often a later ticket was served first by policy. Never falls below what was granted.
        work_seconds: how long the seat is expected to last.
        since_s: CLOCK_MONOTONIC seconds of this boot when the ticket was taken.
        lease_reclaimed: a lease that this ticket left behind was given back, by one process only.
    """

    __tablename__ = "tickets"
    __table_args__ = (Index("tickets_by_state", "line", "state", "id"), AUTOINCREMENT)

    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(unique=True)
    line: Mapped[str]
    state: Mapped[str] = mapped_column(default="waiting")
    agent: Mapped[str]
    flow_run_id: Mapped[str | None]
    model: Mapped[str]
    due_at: Mapped[datetime | None]
    patience_seconds: Mapped[float]
    work_seconds: Mapped[float] = mapped_column(default=0.0)
    overtaken: Mapped[int] = mapped_column(default=0)
    asleep: Mapped[bool] = mapped_column(default=False)
    since_s: Mapped[float] = mapped_column(default=0.0)
    lease_reclaimed: Mapped[bool] = mapped_column(default=False)
    taken_at: Mapped[datetime]
    seated_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    reason: Mapped[str | None]


class Slot(ProcessColumns, Base):
    """A seat at a desk: who holds it, under which fence and which lease of Prefect's.

    state: free, asking, held, offered (to `ticket_id`, with the lease), revoked (its holder overstayed and
    is being ended), releasing, or retired when the profile has fewer slots. The identity is the process
    that acts on the row now: the asker, the heir, the holder or the releaser.

    Attributes:
        fence: grows by one at every grant and every revocation, never falls.
        since_s: CLOCK_MONOTONIC seconds of this boot at the last change of state.
        budget_seconds: how long the holder may stay, counted from `since_s`.
        renewed_at: when the server last said that the lease lives; on the wall, as the server counts.
        last_model: model of the last seat, for the order `affinity`.
        passed: ids of the tickets that the present claim overtakes; counted back when it comes to nothing.
    """

    __tablename__ = "slots"

    line: Mapped[str] = mapped_column(primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(default="free")
    fence: Mapped[int] = mapped_column(default=0)
    ticket_id: Mapped[int | None] = mapped_column(ForeignKey("tickets.id"))
    lease_id: Mapped[str | None]
    granted_at: Mapped[datetime | None]
    budget_ends_at: Mapped[datetime | None]
    since_s: Mapped[float] = mapped_column(default=0.0)
    budget_seconds: Mapped[float] = mapped_column(default=NO_BUDGET_SECONDS)
    renewed_at: Mapped[datetime | None]
    last_model: Mapped[str | None]
    passed: Mapped[list[Any]] = mapped_column(default=list)


class AgentRun(ProcessColumns, Base):
    """One run of an agent, as it ended.

    state: running, written, could_not, skipped, failed. `calls_model` counts the calls whose own
    text passed its checks, `calls_rules` those that rules had to answer, `calls_remembered` how many of both were
    answered at an earlier run.
    """

    __tablename__ = "agent_runs"
    __table_args__ = AUTOINCREMENT

    id: Mapped[int] = mapped_column(primary_key=True)
    flow_run_id: Mapped[str | None] = mapped_column(unique=True)
    agent: Mapped[str]
    state: Mapped[str] = mapped_column(default="running")
    capped: Mapped[bool] = mapped_column(default=False)
    sample: Mapped[bool] = mapped_column(default=False)
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    line_seconds: Mapped[float] = mapped_column(default=0.0)
    desk_seconds: Mapped[float] = mapped_column(default=0.0)
    calls_model: Mapped[int] = mapped_column(default=0)
    calls_rules: Mapped[int] = mapped_column(default=0)
    calls_remembered: Mapped[int] = mapped_column(default=0)
    output_path: Mapped[str | None]
    message: Mapped[str | None]


class Decision(Base):
    """One call to a model: why it went there, and what came of it.

    Attributes:
        request_id: the same for all calls of one request. attempt: 1 is the first of them.
        line: the line it stood in, `cloud` where it stood in none.
        candidates: what else would have done, best first, each with its reason; refusals: what would not, and why.
        energy_joules: of the card, during the call; None where it is not measured.
        shadow_usd: what its tokens cost at list price, paid or not; None where no list price is known.
        verdict: `verified`, or what was wrong.
    """

    __tablename__ = "decisions"
    __table_args__ = (
        Index("decisions_by_run", "flow_run_id"),
        Index("decisions_by_request", "request_id"),
        AUTOINCREMENT,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    flow_run_id: Mapped[str | None]
    agent: Mapped[str]
    kind: Mapped[str]
    tier: Mapped[str]
    engine: Mapped[str]
    model: Mapped[str]
    reason: Mapped[str]
    refusals: Mapped[list[Any]] = mapped_column(default=list)
    tokens_in: Mapped[int] = mapped_column(default=0)
    tokens_out: Mapped[int] = mapped_column(default=0)
    line_seconds: Mapped[float] = mapped_column(default=0.0)
    work_seconds: Mapped[float] = mapped_column(default=0.0)
    first_token_seconds: Mapped[float] = mapped_column(default=0.0)
    verdict: Mapped[str]
    request_id: Mapped[str] = mapped_column(default="")
    attempt: Mapped[int] = mapped_column(default=1)
    line: Mapped[str] = mapped_column(default="")
    privacy: Mapped[str] = mapped_column(default="local_only")
    quality: Mapped[str | None]
    due_at: Mapped[datetime | None]
    candidates: Mapped[list[Any]] = mapped_column(default=list)
    energy_joules: Mapped[float | None]
    shadow_usd: Mapped[float | None]


class GovernorTick(Base):
    """One look of the governor: the readings, the rung it chose and what it did. `by`: `govern` or `sentinel`."""

    __tablename__ = "governor_ticks"
    __table_args__ = (Index("governor_ticks_by_time", "at"), AUTOINCREMENT)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    rung: Mapped[str]
    pressure: Mapped[str]
    dry_run: Mapped[bool] = mapped_column(default=False)
    readings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    actions: Mapped[list[Any]] = mapped_column(default=list)
    reason: Mapped[str]
    by: Mapped[str] = mapped_column(default="govern")


class Pause(Base):
    """A line in which nobody sits down for a while. `by`: `person` or `governor`; each ends its own.

    Attributes:
        until: when it ends by itself, None for a person's that lasts until `hotdesk resume`.
        evict: also take the line's models out of memory, each as soon as nobody uses it.
    """

    __tablename__ = "pauses"

    line: Mapped[str] = mapped_column(primary_key=True)
    by: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    until: Mapped[datetime | None]
    reason: Mapped[str]
    evict: Mapped[bool] = mapped_column(default=False)


class Service(ProcessColumns, Base):
    """A process that `hotdesk up` started (server, worker, ...), found again by `down` and `status`."""

    __tablename__ = "services"

    name: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str | None]
    started_at: Mapped[datetime]


class Setting(Base):
    """A remembered fact of this state folder, such as the profile chosen or the first round's date."""

    __tablename__ = "settings"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
