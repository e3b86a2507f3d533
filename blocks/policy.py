"""The governor's policy as a Prefect Block: what an operator edits in the UI."""

import logging
from datetime import time
from typing import ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prefect.blocks.core import Block
from pydantic import Field, ValidationError, field_validator

from blocks.document import load_or_default
from governor.events import log_event
from governor.policy.pressure import Mark
from governor.policy.watermarks import Hours, Marks
from governor.tick import DEFAULT_MARKS, Rules

MODELS, VRAM, HOST = DEFAULT_MARKS
HOURS = Hours()


class GovernorPolicy(Block):
    """When the governor trims, when it stands down, and how long an idle model may stay.

    Each pair of marks leaves a band in which nothing changes. A pair that leaves none, like a document
    that is missing or invalid, counts as the defaults: a typo must not switch the governor off.
    """

    _block_type_name: ClassVar[str | None] = "Governor Policy"
    _block_type_slug: ClassVar[str | None] = "governor-policy"
    _description: ClassVar[str | None] = "When the governor trims and how long an idle model may stay in memory."

    models_high_percent: float = Field(
        default=MODELS.high, gt=0, le=200, description="Trim when models hold this share of what they may hold."
    )
    models_low_percent: float = Field(default=MODELS.low, gt=0, le=200, description="Calm again at this share.")
    vram_free_high_mib: float = Field(
        default=VRAM.high, ge=0, description="Trim when the card has no more than this free (MiB)."
    )
    vram_free_low_mib: float = Field(default=VRAM.low, ge=0, description="Calm again when this much is free (MiB).")
    host_available_high_percent: float = Field(
        default=HOST.high, ge=0, le=100, description="Trim when no more than this share of the memory is available."
    )
    host_available_low_percent: float = Field(
        default=HOST.low, ge=0, le=100, description="Calm again when this share is available."
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
        marks = (
            _mark(MODELS, self.models_high_percent, self.models_low_percent),
            _mark(VRAM, self.vram_free_high_mib, self.vram_free_low_mib),
            _mark(HOST, self.host_available_high_percent, self.host_available_low_percent),
        )
        hours = Hours(
            day=_pair(HOURS.day, self.day_high_percent, self.day_low_percent),
            night=_pair(HOURS.night, self.night_high_percent, self.night_low_percent),
            night_from=self.night_from,
            night_until=self.night_until,
            zone=self.time_zone,
        )
        return Rules(marks, self.keep_alive_seconds, hours, self.dry_run)


def current_rules() -> Rules:
    """The operator's rules, or the safe defaults when the document is missing, invalid or out of reach."""
    return load_or_default(GovernorPolicy).rules()


def _mark(default: Mark, high: float, low: float) -> Mark:
    try:
        return Mark(reading=default.reading, high=high, low=low, rising_is_bad=default.rising_is_bad)
    except ValidationError:
        log_event("mark_defaults", level=logging.WARNING, reading=default.reading, high=high, low=low)
        return default


def _pair(default: Marks, high: float, low: float) -> Marks:
    if low < high:
        return Marks(high_percent=high, low_percent=low)
    log_event("mark_defaults", level=logging.WARNING, reading="memory in use", high=high, low=low)
    return default
