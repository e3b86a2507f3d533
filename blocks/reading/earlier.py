"""What an agent measured at its earlier runs, kept in its own folder.

A run is compared with the last one of another day or of other inputs, never with itself: so a re-run of the same
inputs on the same day finds what it found before, to the byte.
"""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FILE = "measured.json"
# Two weeks of a daily check: what a usual size or a trend is judged by.
MOST_KEPT = 14

Values = dict[str, float | str]


class Measured(BaseModel):
    """What one run measured. `inputs`: sha256 of what it read."""

    model_config = ConfigDict(frozen=True)

    day: str
    inputs: str
    values: Values = Field(default_factory=dict)


class History(BaseModel):
    """Runs, oldest first; the last one is that of now."""

    runs: list[Measured]

    @property
    def before(self) -> Values:
        """What the run before measured, empty where there was none."""
        return self.runs[-2].values if len(self.runs) > 1 else {}

    def text(self) -> str:
        """As it is written."""
        return json.dumps(self.model_dump(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def with_now(folder: Path, now: Measured) -> History:
    """The history that stands in the folder, with now at its end; one that cannot be read begins anew."""
    try:
        kept = History.model_validate_json((folder / FILE).read_bytes()).runs
    except (OSError, ValidationError):
        kept = []
    same = bool(kept) and (kept[-1].day, kept[-1].inputs) == (now.day, now.inputs)
    return History(runs=[*(kept[:-1] if same else kept), now][-MOST_KEPT:])
