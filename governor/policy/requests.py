"""What an agent asks for, and where it may go: the request, the models that could serve it, the route. Pure."""

import re
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field, field_validator

from governor.policy.facts import Fact, Kind, ModelSpec

# What is wrong with an answer, [] when nothing is.
Verifier = Callable[[str], list[str]]
SURROGATE = re.compile("[\ud800-\udfff]")


class Privacy(StrEnum):
    """Where a prompt may go: nowhere but this machine; to whom does not train on it; anywhere."""

    LOCAL_ONLY = "local_only"
    NO_TRAINING = "no_training"
    PUBLIC = "public"


OPENNESS = tuple(Privacy)


def stricter(one: Privacy | None, other: Privacy | None) -> Privacy | None:
    """The one that allows less; who says nothing leaves it to the other."""
    said = [privacy for privacy in (one, other) if privacy is not None]
    return min(said, key=OPENNESS.index, default=None)


class Quality(StrEnum):
    """What an agent may wish for instead of naming a model: soon and good enough; as good as can be had."""

    QUICK = "quick"
    GOOD = "good"


class ModelRequest(Fact):
    """One call to some model.

    Attributes:
        inputs: name -> text of what the prompt is about; each follows the prompt under its name. Of an `embed`
            request they are the texts to embed, one vector each.
        choices: constrains the answer to one of these labels.
        json_schema: constrains it to such a JSON object. Both are enforced while decoding and checked afterwards.
        privacy: where the words may go; None: what the agent's run may, and nowhere else when that says nothing.
        max_tokens: of the answer. max_input_tokens: of everything before it; what is longer is refused.
        votes: how many answers must agree; more than one for work that no rule can check.
        verifier: the rule that the answer must pass: what is wrong with a text, [] when nothing is.
    """

    kind: Kind
    prompt: str = Field(min_length=1)
    inputs: dict[str, str] = Field(default_factory=dict)
    system: str | None = None
    choices: tuple[str, ...] | None = None
    json_schema: dict[str, Any] | None = None
    privacy: Privacy | None = None
    quality: Quality | None = None
    due_at: datetime | None = None
    max_tokens: int = Field(default=256, ge=1, le=8192)
    max_input_tokens: int | None = Field(default=None, ge=1)
    votes: int = Field(default=1, ge=1, le=5)
    verifier: Verifier | None = Field(default=None, exclude=True, repr=False)

    @field_validator("prompt", "system", "inputs", "choices", mode="before")
    @classmethod
    def _can_be_sent(cls, value: Any) -> Any:
        """Outside text may hold half a pair of surrogates, which cannot be encoded: it becomes the replacement mark."""
        if isinstance(value, str):
            return _encodable(value)
        if isinstance(value, dict):
            return {_encodable(name): _encodable(text) for name, text in value.items()}
        return tuple(_encodable(text) for text in value) if isinstance(value, list | tuple) else value

    @property
    def text(self) -> str:
        """The prompt with its inputs, as the model reads it."""
        return "\n\n".join((self.prompt, *(f"{name}:\n{text}" for name, text in self.inputs.items())))

    @property
    def allowed(self) -> Privacy:
        """Where it may go; silence means nowhere."""
        return self.privacy or Privacy.LOCAL_ONLY

    @property
    def is_checked(self) -> bool:
        """Whether its answer can be wrong by rule: only such answers teach anything about a model."""
        return not (self.verifier is None and self.choices is None and self.json_schema is None)


def _encodable(value: Any) -> Any:
    """A text that is valid Unicode; what is no text is left to its own check."""
    if not isinstance(value, str) or not SURROGATE.search(value):
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Span(StrEnum):
    """How long an allowance lasts. Days and months begin at midnight of the provider's zone, the others slide."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    FIVE_HOURS = "five_hours"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Allowance(Fact):
    """What a provider gives: so many requests (or tokens, in and out) in each span.

    Attributes:
        slides: a day or month of this provider slides too (24 hours, 30 days) instead of beginning at midnight.
        shared: all models of the provider take from it together.
    """

    unit: str = Field(pattern="^(requests|tokens)$")
    span: Span
    amount: int = Field(gt=0)
    slides: bool = False
    shared: bool = False


class CloudModel(Fact):
    """A model in the cloud, as the catalogue or an operator describes it.

    Attributes:
        name: of the tier, such as `groq/gpt-oss-120b`: what people and records see. provider: the part before `/`.
        calls: the model as litellm names it, such as `groq/openai/gpt-oss-120b`.
        api_base: its address when it is not the provider's own.
        key_variables: environment variables of its key and whatever else it needs, in the order of `CloudAccount`.
        kinds: what it does; empty: everything but `embed`.
        parameters_billion: its size, or the size of a model as good where the size is not published.
        trains: whether the provider trains on prompts; `unknown` counts as yes.
        zone: time zone in which its days and months begin.
        input_usd, output_usd: list price of a million tokens; None: unknown, which is not free.
        free: it costs nothing within its allowances.
        tokens_per_second: how fast it writes, roughly.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+/[A-Za-z0-9._:-]+$")
    calls: str
    api_base: str | None = None
    key_variables: tuple[str, ...] = ()
    kinds: frozenset[Kind] = frozenset()
    context_tokens: int = Field(ge=256)
    most_output_tokens: int = Field(default=8192, ge=1)
    parameters_billion: float = Field(gt=0)
    trains: str = Field(default="unknown", pattern="^(yes|no|unknown)$")
    allowances: tuple[Allowance, ...] = ()
    zone: str = "UTC"
    free: bool = False
    input_usd: float | None = Field(default=None, ge=0)
    output_usd: float | None = Field(default=None, ge=0)
    json_schema: bool = True
    tokens_per_second: float = Field(default=100.0, gt=0)

    @property
    def provider(self) -> str:
        """Who runs it."""
        return self.name.partition("/")[0]

    def usd(self, tokens_in: int, tokens_out: int) -> float | None:
        """What so many tokens cost at list price, None when that is unknown."""
        if self.input_usd is None or self.output_usd is None:
            return None
        return (tokens_in * self.input_usd + tokens_out * self.output_usd) / 1e6

    def may_see(self, privacy: Privacy) -> bool:
        """Whether words of this privacy may go there."""
        return privacy is Privacy.PUBLIC or (privacy is Privacy.NO_TRAINING and self.trains == "no")


class Candidate(Fact):
    """One way to serve a request, and why: a model of this machine (`spec`) or one in the cloud (`cloud`).

    Attributes:
        wait_seconds: expected before it begins, a load included. work_seconds: expected from there to the answer.
        price_seconds: what else it takes (an allowance, somebody's memory), as the wait one would put up with instead.
        chance: expected share of such requests whose answer passes its checks.
    """

    tier: str
    spec: ModelSpec | None = None
    cloud: CloudModel | None = None
    reason: str
    wait_seconds: float = 0.0
    work_seconds: float = 0.0
    price_seconds: float = 0.0
    chance: float = 1.0

    @property
    def model(self) -> str:
        """Its model as people know it."""
        return self.spec.model if self.spec else self.tier

    @property
    def parameters_billion(self) -> float:
        """How large it is."""
        known = self.spec or self.cloud
        return known.parameters_billion if known else 0.0


class Refusal(Fact):
    """A tier that was not chosen, and why. `until`: when that may be over; None: not by itself."""

    tier: str
    reason: str
    until: datetime | None = None


class Route(Fact):
    """Candidates in order, best first, and every tier that was refused.

    Attributes:
        late: refused because they would miss the due time, the least late first; better than no answer at all.
        trial: gets one request of the batch before all others, so that something is learned about it.
    """

    candidates: tuple[Candidate, ...]
    refusals: tuple[Refusal, ...] = ()
    late: tuple[Candidate, ...] = ()
    trial: Candidate | None = None
