"""What each kind of agent can be told: typed, so that the UI shows a form and a typo is refused."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator

from governor.policy.requests import Privacy, Quality


class AgentParameters(BaseModel):
    """What every agent has: a source, caps, patience, a due time, and where its words may go."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(description="File, folder or http(s) address; relative paths start at the checkout.")
    max_items: int = Field(default=8, ge=1, le=200, description="Newest items to work on.")
    max_tokens: int = Field(default=96, ge=8, le=2048, description="Longest answer per call.")
    patience_seconds: float = Field(default=1800, gt=0, le=86_400, description="Longest wait in line, then it skips.")
    due: str | None = Field(default=None, description="Local time by which the output is wanted, such as 07:00.")
    timezone: str = Field(default="UTC", description="Time zone of `due`.")
    privacy: Privacy = Field(
        default=Privacy.LOCAL_ONLY,
        description="Where the words may go: nowhere else, to clouds that do not train on them, or to any.",
    )
    quality: Quality | None = Field(default=None, description="quick: soon and good enough; good: as good as it gets.")

    @field_validator("due")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        if value is not None:
            time.fromisoformat(value)
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


class DigestParameters(AgentParameters):
    """A feed to read, and the topics to sort it by: topic -> words that name it."""

    topics: dict[str, str] = Field(min_length=2, description="Topic -> short phrase the model chooses among.")
    prompt_file: str = "flows/prompts/digest.md"


class TriageParameters(AgentParameters):
    """Messages to label: label -> words that name it."""

    labels: dict[str, str] = Field(min_length=2, description="Label -> short phrase the model chooses among.")
    prompt_file: str = "flows/prompts/triage.md"


class LogWatchParameters(AgentParameters):
    """A log to cluster. Counting is code; the model only puts the largest clusters into words."""

    pattern: str = Field(default="ERROR|WARNING", description="Regular expression of the lines worth a look.")
    prompt_file: str = "flows/prompts/log_watch.md"


class ExtractParameters(AgentParameters):
    """A folder of documents to take vendor, number, date and total from."""

    prompt_file: str = "flows/prompts/extract.md"
