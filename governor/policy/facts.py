"""The frozen records that decisions are made from and of. Pure: no clock, no file, no network."""

from datetime import datetime
from enum import StrEnum
from typing import Any

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


class Privacy(StrEnum):
    """Where a prompt may go. No cloud tier exists yet, so every route is local."""

    LOCAL_ONLY = "local_only"
    NO_TRAINING = "no_training"
    PUBLIC = "public"


class Quality(StrEnum):
    """What an agent may wish for instead of naming a model."""

    QUICK = "quick"
    GOOD = "good"


class ModelRequest(Fact):
    """One call to some model.

    `choices` constrains the answer to one of these labels, `json_schema` to a JSON object;
    both are enforced while decoding and checked again afterwards.
    """

    kind: Kind
    prompt: str = Field(min_length=1)
    system: str | None = None
    choices: tuple[str, ...] | None = None
    json_schema: dict[str, Any] | None = None
    privacy: Privacy = Privacy.LOCAL_ONLY
    quality: Quality | None = None
    due_at: datetime | None = None
    max_tokens: int = Field(default=256, ge=1, le=8192)


class ModelSpec(Fact):
    """A model as one engine of this machine runs it: what the desk makes resident.

    `line` is the line in front of it (`gpu`, `cpu`), `source` what the engine needs to load it
    (a weights file name for `embedded`, a tag for `ollama`).
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


class Profile(Fact):
    """What this machine can carry, from `profiles.yaml` and what was detected.

    `tiers` maps a tier name (`heavy`, `tiny`) to the model that serves it here, `slots` a line to its
    seats, `cards` a line to the uuid of the card behind it (none without a GPU).
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
    advice: tuple[str, ...] = ()


class Candidate(Fact):
    """One way to serve a request, and why."""

    tier: str
    spec: ModelSpec
    reason: str


class Refusal(Fact):
    """A tier that was not chosen, and why."""

    tier: str
    reason: str


class Route(Fact):
    """Candidates in order, best first, and every tier that was refused."""

    candidates: tuple[Candidate, ...]
    refusals: tuple[Refusal, ...] = ()


class Held(Fact):
    """A resident model as the residency policy sees it. Times in seconds before now."""

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


class Reading(Fact):
    """One number from one sensor; `value` None means unknown, with the reason in `why`."""

    name: str
    value: float | None
    unit: str
    why: str = ""


class Level(StrEnum):
    """How bad one resource is."""

    UNKNOWN = "unknown"
    CALM = "calm"
    HIGH = "high"


class Rung(StrEnum):
    """The governor's ladder. Only the first step up exists so far."""

    NORMAL = "normal"
    TRIM = "trim"
