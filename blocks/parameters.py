"""What every agent can be told: typed, so that the UI shows a form and a typo is refused.

What one kind of agent is told beside that stands in its flow file.
"""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator

from blocks.lateness import Late
from governor.policy.requests import Privacy, Quality


class AgentParameters(BaseModel):
    """What every agent has: a source, caps, patience, a due time, and where its words may go."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(description="File, folder or http(s) address; relative paths start at the checkout.")
    max_items: int = Field(default=8, ge=1, le=200, description="Newest items to work on.")
    max_tokens: int = Field(default=96, ge=8, le=2048, description="Longest answer per call.")
    patience_seconds: float = Field(default=1800, gt=0, le=86_400, description="Longest wait in line, then it skips.")
    due: str | None = Field(default=None, description="Local time by which the output is wanted, such as 07:00.")
    timezone: str = Field(default="UTC", description="Time zone of `due` and of the day that names outputs.")
    privacy: Privacy = Field(
        default=Privacy.LOCAL_ONLY,
        description="Where the words may go: nowhere else, to clouds that do not train on them, or to any.",
    )
    late: Late = Field(
        default=Late.RUN_ONCE,
        description="A run that starts past its window: run_once does the work of the latest time, skip leaves it.",
    )
    window_minutes: int = Field(
        default=60, ge=1, le=10_080, description="How late a run may start and still be on time."
    )
    max_bytes: int = Field(default=4_194_304, ge=1024, le=67_108_864, description="Most to read of one file or page.")
    max_seconds: float = Field(
        default=120, gt=0, le=3600, description="Longest at the desk at a time, while the next in line is due earlier."
    )
    quality: Quality | None = Field(default=None, description="quick: soon and good enough; good: as good as it gets.")

    @field_validator("due")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        if value is not None and time.fromisoformat(value).tzinfo is not None:
            raise ValueError(f"{value!r} has a zone; write the local time alone, and its zone under `timezone`")
        return value

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value!r} is no time zone; write one like Europe/Berlin") from error
        return value

    def due_at(self, now: datetime) -> datetime | None:
        """The next `due` after `now`, None when nothing is due."""
        if self.due is None:
            return None
        here = now.astimezone(ZoneInfo(self.timezone))
        due = here.replace(hour=0, minute=0, second=0, microsecond=0)
        wanted = time.fromisoformat(self.due)
        due = due.replace(hour=wanted.hour, minute=wanted.minute)
        return due if due > here else due + timedelta(days=1)
