"""The models of `models.yaml` and the profiles of `profiles.yaml`, read strictly: a key that is not known is an error.

Says what is written there and how much memory a model takes by its size. Which profile a machine gets is
`governor.profile`; what is on the machine is `governor.machine`.
"""

import difflib
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from governor.errors import BadInput
from governor.policy.facts import Fact, Kind
from governor.settings import MIB

MODELS_FILE = Path(__file__).with_name("models.yaml")
PROFILES_FILE = Path(__file__).with_name("profiles.yaml")
# In the order in which they choose: a model serves one tier, and has one context for the whole fleet.
TIERS = ("heavy", "coder", "tiny", "embedder")
ON_GPU_LINE = frozenset({"heavy", "coder"})
# The most that agents of a weak machine can be thinned out by: what runs every hour runs once a day then.
MOST_CADENCE = 24
# Beside weights and context: the driver's context and the work space of a process on a card (0.3 to 0.6 GiB and 0.1
# to 0.2 were measured, see `policy.footprint`); without a card the process and what it keeps of each token's text.
ON_CARD_MIB, IN_HOST_MIB = 600.0, 200.0
# pyyaml's parser in C is ten times as fast, and every process reads these files.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Model(Fact):
    """One model as `models.yaml` has it; its head says what the fields mean. `name` is its key there."""

    name: str
    licence: str = Field(min_length=1)
    parameters_billion: float = Field(gt=0)
    quantisation: str
    size_bytes: int = Field(gt=0)
    sha256: str | None = Field(pattern="^[0-9a-f]{64}$")
    ollama: str | None = None
    file: str = Field(pattern=r"^[^/]+\.gguf$")
    kv_bytes: int = Field(ge=0)
    trained_tokens: int = Field(ge=256)
    kinds: frozenset[Kind] = frozenset()
    source: str = Field(pattern="^https://")

    def expected_mib(self, context_tokens: int, *, engine_slots: int, on_card: bool) -> float:
        """Memory that it takes with so much context for each of its slots, by its size alone: a guess."""
        cache_mib = self.kv_bytes * context_tokens * engine_slots / MIB
        return round(self.size_bytes / MIB + cache_mib + (ON_CARD_MIB if on_card else IN_HOST_MIB))


class Choice(Fact):
    """One model that a tier may be served by, and with which context. `expected_mib` None: as its size says."""

    model: str
    context_tokens: int = Field(ge=256)
    expected_mib: float | None = Field(default=None, gt=0)


class Needs(Fact):
    """What a machine must have for a profile: memory of all cards and of the host, and cards."""

    vram_mib: float = Field(ge=0)
    memory_mib: float = Field(default=0.0, ge=0)
    cards: int = Field(default=0, ge=0)


class Written(Fact):
    """One profile as `profiles.yaml` has it; its head says what the fields mean."""

    needs: Needs
    heavy: tuple[Choice, ...] = Field(min_length=1)
    coder: tuple[Choice, ...] = ()
    tiny: tuple[Choice, ...] = ()
    embedder: tuple[Choice, ...] = ()
    slots: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: {"gpu": 1, "cpu": 1})
    engine_slots: int = Field(default=1, ge=1)
    budget_mib: float = Field(gt=0)
    budget_share: float = Field(default=0.0, ge=0, lt=1)
    worker_limit: int = Field(ge=1)
    keep_alive_seconds: float = Field(gt=0)
    cadence: int = Field(default=1, ge=1, le=MOST_CADENCE)

    def choices(self, tier: str) -> tuple[Choice, ...]:
        """What this tier may be served by, the best first."""
        return getattr(self, tier)


class DemoTier(Fact):
    """The embedded demo model in one tier's place."""

    context_tokens: int = Field(ge=256)
    expected_mib: float = Field(gt=0)


class Embedded(Fact):
    """The demo model, which every machine can run."""

    model: str
    heavy: DemoTier
    tiny: DemoTier


class FirstRound(Fact):
    """Caps of the first round: items of each agent, tokens of one answer."""

    items: int = Field(ge=1)
    tokens: int = Field(ge=1)


class ModelsFile(Fact):
    """`models.yaml`. `as_of`: when the models were last looked up."""

    as_of: date
    models: dict[str, Model]


class ProfilesFile(Fact):
    """`profiles.yaml`."""

    embedded: Embedded
    first_round: FirstRound
    profiles: dict[str, Written] = Field(min_length=1)


class Catalogue(ModelsFile, ProfilesFile):
    """Both files."""


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """The two files as shipped, read once for each process. Raises BadInput as `read_catalogue` does."""
    return read_catalogue()


def read_catalogue(models: Path = MODELS_FILE, profiles: Path = PROFILES_FILE) -> Catalogue:
    """Both files, checked.

    Raises:
        BadInput: a file cannot be read, a key is not known ("did you mean"), a value is wrong, or a profile names
            a model that does not exist or is not for its tier.
    """
    known, written = _read(models, ModelsFile), _read(profiles, ProfilesFile)
    read = Catalogue.model_construct(**(dict(known) | dict(written)))
    for problem in _misfits(read):
        raise _bad(profiles, problem)
    return read


def nearest(name: str, names: list[str]) -> str:
    """`Did you mean` with the names that look like it, else all of them."""
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(close)}?" if close else f"Use one of: {', '.join(names)}."


def _read(path: Path, shape: type[ModelsFile] | type[ProfilesFile]) -> ModelsFile | ProfilesFile:
    try:
        written = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)  # a SafeLoader
    except (OSError, yaml.YAMLError) as error:
        raise _bad(path, str(error)) from error
    if not isinstance(written, dict):
        raise _bad(path, "it is no mapping")
    rows = written.get("models")
    if isinstance(rows, dict):
        written["models"] = {key: {"name": key, **row} if isinstance(row, dict) else row for key, row in rows.items()}
    try:
        return shape.model_validate(written)
    except ValidationError as error:
        raise _bad(path, _why(shape, error)) from error


def _why(shape: type[Fact], error: ValidationError) -> str:
    found = error.errors(include_url=False)
    # A mistyped key is missing too, where it is written rightly: the typo says more.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"{place}: {first['msg']}"
    return f"{place}: unknown key. {nearest(str(first['loc'][-1]), _keys_at(shape, first['loc']))}"


def _keys_at(shape: type[Fact], place: tuple[int | str, ...]) -> list[str]:
    """The keys that are known where an unknown one stands."""
    parts = {"models": Model, "profiles": Written, "needs": Needs, "embedded": Embedded, "first_round": FirstRound}
    for step in place[:-1]:
        shape = parts.get(str(step), Choice if isinstance(step, int) else shape)
    return list(shape.model_fields)


def _misfits(read: Catalogue) -> Iterator[str]:
    for name, profile in read.profiles.items():
        for tier in TIERS:
            for choice in profile.choices(tier):
                model = read.models.get(choice.model)
                if model is None:
                    yield f"profiles.{name}.{tier}: there is no model {choice.model!r}. " + nearest(
                        choice.model, list(read.models)
                    )
                elif (Kind.EMBED in model.kinds) != (tier == "embedder"):
                    yield f"profiles.{name}.{tier}: {choice.model} is not for this tier"
                elif choice.context_tokens > model.trained_tokens:
                    yield f"profiles.{name}.{tier}: {choice.model} has a context of {model.trained_tokens} at most"
    if read.embedded.model not in read.models:
        yield f"embedded: there is no model {read.embedded.model!r}"


def _bad(path: Path, why: str) -> BadInput:
    return BadInput(
        f"The catalogue of models cannot be used: {path.name}: {why.rstrip('.')}.",
        means="No profile was chosen, and nothing was started.",
        remedy=f"Correct {path}.",
    )
