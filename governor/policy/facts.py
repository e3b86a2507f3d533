"""The frozen records that decisions are made from and of. Pure: no clock, no file, no network.

What a request and a route are stands in `policy.requests`.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Fact(BaseModel):
    """Base of all facts: frozen, and a mistyped field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Kind(StrEnum):
    """What is asked for. A kind of work, never a model."""

    CLASSIFY = "classify"
    EXTRACT = "extract"
    SUMMARISE = "summarise"
    WRITE = "write"
    TRANSLATE = "translate"
    CODE = "code"
    COMPARE = "compare"
    EMBED = "embed"


class ModelSpec(Fact):
    """A model as one engine of this machine runs it: what the desk makes resident.

    `line` is the line in front of it (`gpu`, `cpu`), `source` what the engine needs to load it
    (a weights file name for `embedded`, a tag for `ollama`). `context_tokens` is the context of one request,
    the same for the whole fleet; `least_context_tokens` is what the work at hand needs of it (0: all of it).
    `engine_slots` requests can run at once, each with a context of its own; `cache_type` is how the context
    is kept (`f16`, `q8_0`). `expected_mib` is the profile's guess at its memory, used only where neither a
    measurement nor the weights' own header says better. `kinds` is the work it does; empty: all but `embed`.
    """

    engine: str
    model: str
    source: str
    line: str
    context_tokens: int = Field(ge=256)
    gpu_layers: int = 0
    threads: int = Field(default=1, ge=1)
    parameters_billion: float = Field(gt=0)
    expected_mib: float = Field(gt=0)
    demo: bool = False
    least_context_tokens: int = Field(default=0, ge=0)
    cache_type: str = "f16"
    engine_slots: int = Field(default=1, ge=1)
    kinds: frozenset[Kind] = frozenset()

    @property
    def memory(self) -> str:
        """Where it lives: `vram` when layers go to a card, else `ram`."""
        return "vram" if self.gpu_layers else "ram"

    @property
    def embeds(self) -> bool:
        """Whether it is loaded to make vectors, and then makes nothing else. Such a model has a name of its own."""
        return self.kinds == {Kind.EMBED}


class Profile(Fact):
    """What this machine can carry, from `profiles.yaml` and what was detected.

    `tiers` maps a tier name (`heavy`, `tiny`) to the model that serves it here, `slots` a line to its
    seats, `cards` a line to the uuid of the card behind it (none without a GPU). `cadence`: agents that run more
    than once a day run at every so-manieth of their times. `power`: `mains` or `battery`.
    """

    name: str
    tiers: dict[str, ModelSpec]
    slots: dict[str, int]
    cards: dict[str, str] = {}
    worker_limit: int
    keep_alive_seconds: float
    memory_budget_mib: float
    first_round_items: int
    first_round_tokens: int
    cadence: int = Field(default=1, ge=1)
    power: str = Field(default="mains", pattern="^(mains|battery)$")
    advice: tuple[str, ...] = ()


class Held(Fact):
    """A resident model as the residency policy sees it. Times in seconds before now.

    `memory` is where it lives (`vram`, `ram`) and `memory_mib` what it takes there. `load_seconds` is what
    bringing it back would cost. `stuck`: it was told to leave and gave nothing back. `frees_mib` is what becomes
    available when it leaves, None: all that it takes. `own`: in use by the very process that asks, which cannot
    wait for itself. `settled`: neither on its way in nor on its way out.
    """

    resident_id: int
    engine: str
    model: str
    context_tokens: int
    line: str
    memory_mib: float
    idle_seconds: float
    age_seconds: float
    busy: bool
    pinned: bool = False
    memory: str = "ram"
    cache_type: str = "f16"
    load_seconds: float = 0.0
    stuck: bool = False
    frees_mib: float | None = None
    own: bool = False
    settled: bool = True


class Use(Fact):
    """One use of a model that the schedule, or the line, tells beforehand."""

    model: str
    at: datetime


class Weights(Fact):
    """What the header of a GGUF file says that decides how much memory the model takes.

    Attributes:
        file_mib: size of the file, all parts together.
        embedding_mib: the token embedding's share of it, which stays in the host's memory when every layer
            goes to the card; 0 when the output uses the same tensor, which then goes to the card too.
        key_value_width: for each layer the values kept per token, keys and values together.
        window_tokens: for each layer the most tokens it keeps, 0 where it keeps the whole context.
        vocabulary: number of tokens. trained_context: the longest context that it was trained for.
        width: values of one token between the layers, feed_forward: values inside the widest layer (of a mixture, of
            the experts that work at once); 0 where the header does not say.
    """

    architecture: str
    file_mib: float = Field(gt=0)
    embedding_mib: float = Field(ge=0)
    key_value_width: tuple[int, ...]
    window_tokens: tuple[int, ...]
    vocabulary: int = Field(ge=0)
    trained_context: int = Field(ge=0)
    width: int = Field(default=0, ge=0)
    feed_forward: int = Field(default=0, ge=0)


class Footprint(Fact):
    """What a model takes and how sure that is. `source`: `learned`, `header` or `profile`.

    `spread_mib` is what the true figure may be above `mib`; `load_seconds` None until it was loaded once.
    """

    mib: float
    spread_mib: float
    source: str
    load_seconds: float | None = None


class Reading(Fact):
    """One number from one sensor; `value` None means unknown, with the reason in `why`.

    `about` names the model, or whatever else, that the figure is about; '' when it is about the whole machine. `at` is
    when what it counts happened last (aware UTC), None where it is no count of events.
    """

    name: str
    value: float | None
    unit: str
    why: str = ""
    about: str = ""
    at: datetime | None = None


class Level(StrEnum):
    """How bad one resource is. `EASING`: it was high and is better, but not calm yet."""

    UNKNOWN = "unknown"
    CALM = "calm"
    EASING = "easing"
    HIGH = "high"


class Rung(StrEnum):
    """The governor's ladder, gentle first; each rung keeps what those below it do."""

    NORMAL = "normal"
    TRIM = "trim"
    EVICT_IDLE = "evict_idle"
    PAUSE_LINE = "pause_line"
    FORCE_EVICT = "force_evict"
