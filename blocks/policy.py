"""The governor's policy as a Prefect Block: what an operator edits in the UI."""

from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import Field, ValidationError

from governor.events import log_event
from governor.tick import DEFAULT_MARKS, Rules

DOCUMENT = "default"


class GovernorPolicy(Block):
    """When the governor trims and how long an idle model may stay.

    A missing or invalid document counts as these defaults: a typo must not switch the governor off.
    """

    _block_type_name: ClassVar[str | None] = "Governor Policy"
    _block_type_slug: ClassVar[str | None] = "governor-policy"

    models_high_percent: float = Field(default=90, gt=0, le=100, description="Trim when models fill this share.")
    models_low_percent: float = Field(default=75, gt=0, le=100, description="Calm again below this share.")
    keep_alive_seconds: float | None = Field(default=None, ge=10, description="Empty: what the profile says.")
    dry_run: bool = Field(default=False, description="Record what would be done, do nothing.")

    def rules(self) -> Rules:
        """The same as plain rules. A calm mark that is not below the high one falls back to the defaults."""
        if self.models_low_percent >= self.models_high_percent:
            return Rules(keep_alive_seconds=self.keep_alive_seconds, dry_run=self.dry_run)
        first = DEFAULT_MARKS[0].model_copy(update={"high": self.models_high_percent, "low": self.models_low_percent})
        return Rules((first, *DEFAULT_MARKS[1:]), self.keep_alive_seconds, self.dry_run)


def current_rules() -> Rules:
    """The operator's document, or the safe defaults when it is missing, invalid or out of reach."""
    try:
        document = GovernorPolicy.load(DOCUMENT)
    except (ValueError, ValidationError, RuntimeError) as error:
        log_event("policy_defaults", why=type(error).__name__)
        return Rules()
    return document.rules() if isinstance(document, GovernorPolicy) else Rules()
