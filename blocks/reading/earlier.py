"""What an agent measured at its earlier runs, kept in its own folder.

A run is compared with the last one of another day or of other inputs, never with itself: so a re-run of the same
inputs on the same day finds what it found before, to the byte. Nor is it compared with one of another source: who moves
from samples to data of their own begins anew.
"""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blocks.writing.outputs import sha256

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
    """Runs, oldest first; the last one is that of now.

    Attributes:
        source: sha256 of its name. begun_anew: the day on which runs of another source were dropped, '' for none.
    """

    runs: list[Measured]
    source: str = ""
    begun_anew: str = ""

    @property
    def before(self) -> Values:
        """What the run before measured, empty where there was none."""
        return self.runs[-2].values if len(self.runs) > 1 else {}

    @property
    def is_anew(self) -> bool:
        """Whether this run would have been compared with another source."""
        return bool(self.begun_anew) and self.begun_anew == self.runs[-1].day and not self.before

    def text(self) -> str:
        """As it is written."""
        return json.dumps(self.model_dump(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def with_now(folder: Path, now: Measured, *, source: str) -> History:
    """The history that stands in the folder, with now at its end; of another source, or unreadable, it begins anew."""
    try:
        earlier = History.model_validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError):
        earlier = History(runs=[], source=sha256(source))
    if earlier.source != sha256(source):
        earlier = History(runs=[], source=sha256(source), begun_anew=now.day if earlier.runs else "")
    kept = earlier.runs
    same = bool(kept) and (kept[-1].day, kept[-1].inputs) == (now.day, now.inputs)
    runs = [*(kept[:-1] if same else kept), now][-MOST_KEPT:]
    return earlier.model_copy(update={"runs": runs})
