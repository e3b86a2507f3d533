"""The governor's policy as a Prefect Block: what an operator edits in the UI."""

import logging
from datetime import time
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prefect.blocks.core import Block
from pydantic import Field, ValidationError, field_validator

from blocks.document import UNUSABLE, load_document
from governor.events import log_event
from governor.policy.facts import Rung
from governor.policy.ladder import LADDER, Cooldown
from governor.policy.pressure import Also, Band, Mark
from governor.policy.rules import DEFAULT_MARKS, Rules
from governor.policy.watermarks import Hours, Marks
from governor.standing import known_rules

HOURS, COOLDOWN = Hours(), Cooldown()
BY_READING = {mark.reading: mark for mark in DEFAULT_MARKS}
# The beginning of the two fields that hold the marks of a reading, and their unit; the other readings have no fields.
FIELDS = {
    "models_percent": ("models", "percent"),
    "vram_free_mib": ("vram_free", "mib"),
    "vram_slack_mib": ("slack", "mib"),
    "speed_percent": ("speed", "percent"),
    "host_available_percent": ("host_available", "percent"),
    "swap_mib_per_s": ("swap", "mib_per_s"),
    "psi_memory_some_percent": ("stalls_some", "percent"),
    "psi_memory_full_percent": ("stalls_full", "percent"),
}


def _high(reading: str, text: str, **bounds: Any) -> Any:
    return Field(default=BY_READING[reading].high, description=text, **bounds)


def _low(reading: str, text: str = "Calm again at this.", **bounds: Any) -> Any:
    return Field(default=BY_READING[reading].low, description=text, **bounds)


class GovernorPolicy(Block):
    """When the governor acts, how firmly, when it stands down, and how long an idle model may stay.

    Each pair of marks leaves a band in which nothing begins. A pair that leaves none, like a document
    that is missing or invalid, counts as the defaults: a typo must not switch the governor off.
    """

    _block_type_name: ClassVar[str | None] = "Governor Policy"
    _block_type_slug: ClassVar[str | None] = "governor-policy"
    _description: ClassVar[str | None] = "When the governor acts and how long an idle model may stay in memory."

    models_high_percent: float = _high(
        "models_percent", "Act when models hold this share of what they may hold.", gt=0, le=200
    )
    models_low_percent: float = _low("models_percent", gt=0, le=200)
    vram_free_high_mib: float = _high("vram_free_mib", "Act when the card has no more than this free (MiB).", ge=0)
    vram_free_low_mib: float = _low("vram_free_mib", ge=0)
    vram_free_night_high_mib: float = Field(default=300.0, ge=0, description="The same by night.")
    vram_free_night_low_mib: float = Field(default=500.0, ge=0, description="Calm again at this, by night.")
    slack_high_mib: float = _high(
        "vram_slack_mib", "Act when an engine's process holds so much more than its engine accounts for.", gt=0
    )
    slack_low_mib: float = _low("vram_slack_mib", gt=0)
    speed_high_percent: float = _high(
        "speed_percent", "Act when a model is slower than this share of its own usual speed (it runs on the CPU).", gt=0
    )
    speed_low_percent: float = _low("speed_percent", gt=0)
    host_available_high_percent: float = _high(
        "host_available_percent", "Act when no more than this share of the memory is available.", ge=0, le=100
    )
    host_available_low_percent: float = _low("host_available_percent", ge=0, le=100)
    swap_high_mib_per_s: float = _high("swap_mib_per_s", "Act when so much goes to and from swap each second.", gt=0)
    swap_low_mib_per_s: float = _low("swap_mib_per_s", ge=0)
    swap_used_percent: float = Field(default=20.0, ge=0, le=100, description="And swap is fuller than this.")
    stalls_some_high_percent: float = _high(
        "psi_memory_some_percent", "Act when some process waits for memory for this share of the time.", gt=0, le=100
    )
    stalls_some_low_percent: float = _low("psi_memory_some_percent", ge=0, le=100)
    stalls_full_high_percent: float = _high("psi_memory_full_percent", "The same for all processes.", gt=0, le=100)
    stalls_full_low_percent: float = _low("psi_memory_full_percent", ge=0, le=100)
    firmest_rung: Rung = Field(default=Rung.FORCE_EVICT, description="How far the ladder may go at most.")
    cooldown_up_seconds: float = Field(
        default=COOLDOWN.up_seconds, ge=1, le=600, description="How long an act has to show before the next one."
    )
    cooldown_down_seconds: float = Field(
        default=COOLDOWN.down_seconds, ge=1, le=3600, description="How long it is calm before one rung down."
    )
    keep_alive_seconds: float | None = Field(
        default=None, ge=10, description="How long an idle model may stay. Empty: what the profile says."
    )
    day_high_percent: float = Field(
        default=HOURS.day.high_percent, gt=0, le=100, description="By day: idle models leave when a memory is fuller."
    )
    day_low_percent: float = Field(default=HOURS.day.low_percent, gt=0, le=100, description="They leave down to this.")
    night_high_percent: float = Field(
        default=HOURS.night.high_percent, gt=0, le=100, description="The same by night: how full a memory may be."
    )
    night_low_percent: float = Field(default=HOURS.night.low_percent, gt=0, le=100, description="And down to what.")
    night_from: time = Field(default=HOURS.night_from, description="When the night begins, on the clock of the zone.")
    night_until: time = Field(default=HOURS.night_until, description="When it ends; the same time: there is no night.")
    time_zone: str = Field(default=HOURS.zone, description="Zone of these two times, such as Europe/Berlin.")
    dry_run: bool = Field(default=False, description="Record what would be done, do nothing.")

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value!r} is no time zone; write one like Europe/Berlin") from error
        return value

    @field_validator("night_from", "night_until")
    @classmethod
    def _on_the_wall(cls, value: time) -> time:
        """A form may send the offset that RFC 3339 asks of a time; the clock counts, the zone has its own field."""
        return value.replace(tzinfo=None)

    def rules(self) -> Rules:
        """The same as plain rules, each impossible pair of marks replaced by the default one."""
        hours = Hours(
            day=_pair(HOURS.day, self.day_high_percent, self.day_low_percent),
            night=_pair(HOURS.night, self.night_high_percent, self.night_low_percent),
            night_from=self.night_from,
            night_until=self.night_until,
            zone=self.time_zone,
        )
        return Rules(
            marks=tuple(self._mark(mark) for mark in DEFAULT_MARKS),
            keep_alive_seconds=self.keep_alive_seconds,
            hours=hours,
            cooldown=Cooldown(up_seconds=self.cooldown_up_seconds, down_seconds=self.cooldown_down_seconds),
            dry_run=self.dry_run,
        )

    def _mark(self, default: Mark) -> Mark:
        """One mark as the form has it."""
        most = min(default.most, self.firmest_rung, key=LADDER.index)
        if default.reading not in FIELDS:
            return default.model_copy(update={"most": most})
        name, unit = FIELDS[default.reading]
        values: dict[str, Any] = {
            "high": getattr(self, f"{name}_high_{unit}"),
            "low": getattr(self, f"{name}_low_{unit}"),
            "night": self._night(default),
            "also": self._also(default),
            "most": most,
        }
        try:
            return Mark.model_validate({**default.model_dump(), **values})
        except ValidationError:
            log_event("mark_defaults", level=logging.WARNING, reading=default.reading, **values)
            return default.model_copy(update={"most": most})

    def _night(self, default: Mark) -> Band | None:
        if default.night is None:
            return None
        return Band(high=self.vram_free_night_high_mib, low=self.vram_free_night_low_mib)

    def _also(self, default: Mark) -> Also | None:
        if default.also is None:
            return None
        half = default.also.low / default.also.high
        return default.also.model_copy(update={"high": self.swap_used_percent, "low": self.swap_used_percent * half})


def current_rules() -> Rules:
    """The operator's rules: the safe defaults when there is no document, and when it is invalid or out of reach the
    last that were known: an operator's dry run is not over because the server is silent.
    """
    try:
        return load_document(GovernorPolicy).rules()
    except ValueError as error:  # what Prefect raises when there is none
        log_event("block_defaults", level=logging.WARNING, block="GovernorPolicy", why=str(error)[:200])
        return Rules() if not isinstance(error, ValidationError) else known_rules()
    except UNUSABLE as error:
        log_event("block_kept", level=logging.WARNING, block="GovernorPolicy", why=f"{type(error).__name__}: {error}")
        return known_rules()


def _pair(default: Marks, high: float, low: float) -> Marks:
    if low < high:
        return Marks(high_percent=high, low_percent=low)
    log_event("mark_defaults", level=logging.WARNING, reading="memory in use", high=high, low=low)
    return default
