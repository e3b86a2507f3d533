"""The catalogue of free tiers, `free_tiers.yaml`, read strictly: a key that is not known is an error with its place.

Says what providers offer. Which of it an operator has a key for is `governor.accounts`; what is used of an allowance
is `governor.ledger`.
"""

from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import AfterValidator, Field, ValidationError

from governor.errors import BadInput
from governor.policy.facts import Fact, Kind
from governor.policy.requests import Allowance, CloudModel, Span

FILE = Path(__file__).with_name("free_tiers.yaml")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("this is no time zone; write one such as Europe/Berlin") from error
    return name


Zone = Annotated[str, AfterValidator(_zone)]
ProviderName = Annotated[str, Field(pattern="^[a-z0-9_]+$")]
ModelName = Annotated[str, Field(pattern="^[A-Za-z0-9._:-]+$")]
Amount = Annotated[int, Field(gt=0)]
Price = Annotated[float, Field(ge=0)]


class Allowances(Fact):
    """Amounts by span."""

    requests: dict[Span, Amount] = Field(default_factory=dict)
    tokens: dict[Span, Amount] = Field(default_factory=dict)

    def listed(self, *, slides: bool, shared: bool = False) -> tuple[Allowance, ...]:
        """The same one by one."""
        spans = {"requests": self.requests, "tokens": self.tokens}
        return tuple(
            Allowance(unit=unit, span=span, amount=amount, slides=slides, shared=shared)
            for unit, amounts in spans.items()
            for span, amount in amounts.items()
        )


class Offered(Fact):
    """One model of a provider, as the file has it. `usd`: of a million tokens in and of a million out."""

    calls: str = Field(pattern="^[a-z_]+/.")
    context_tokens: int = Field(ge=256)
    most_output_tokens: int = Field(ge=1)
    parameters_billion: float = Field(gt=0)
    allowances: Allowances = Allowances()
    usd: tuple[Price, Price]
    kinds: frozenset[Kind] = frozenset()
    json_schema: bool = True
    tokens_per_second: float = Field(default=100.0, gt=0)


class Provider(Fact):
    """One provider, as the file has it: what all its models share. What the fields mean stands in the file."""

    source: str = Field(pattern="^https://")
    seen: date
    keys: tuple[str, ...] = Field(min_length=1)
    zone: Zone = "UTC"
    slides: bool = False
    shared: Allowances = Allowances()
    trains: str = Field(pattern="^(yes|no|unknown)$")
    free: bool = True
    bills_beyond: str = ""
    unpublished: bool = False
    note: str
    api_base: str | None = None
    models: dict[ModelName, Offered] = Field(min_length=1)

    def shared_allowances(self) -> tuple[Allowance, ...]:
        """What all its models take from together."""
        return self.shared.listed(slides=self.slides, shared=True)

    def tier(self, provider: str, name: str) -> CloudModel:
        """One of its models as the router knows it."""
        model = self.models[name]
        return CloudModel(
            name=f"{provider}/{name}",
            calls=model.calls,
            api_base=self.api_base,
            key_variables=self.keys,
            kinds=model.kinds,
            context_tokens=model.context_tokens,
            most_output_tokens=model.most_output_tokens,
            parameters_billion=model.parameters_billion,
            trains=self.trains,
            allowances=(*model.allowances.listed(slides=self.slides), *self.shared_allowances()),
            zone=self.zone,
            free=self.free and not self.bills_beyond,
            input_usd=model.usd[0],
            output_usd=model.usd[1],
            json_schema=model.json_schema,
            tokens_per_second=model.tokens_per_second,
        )


class TierCatalogue(Fact):
    """The whole file. `as_of`: when it was last gone through."""

    as_of: date
    providers: dict[ProviderName, Provider]

    def tiers(self) -> dict[str, CloudModel]:
        """Every tier by its name."""
        found = (given.tier(provider, name) for provider, given in self.providers.items() for name in given.models)
        return {tier.name: tier for tier in found}


def read_catalogue(path: Path = FILE) -> TierCatalogue:
    """The file, checked.

    Raises:
        BadInput: it cannot be read; or a key or value is wrong: with the file, the provider and the key.
    """
    try:
        written: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TierCatalogue.model_validate(written)
    except (OSError, yaml.YAMLError) as error:
        raise _wrong(path, str(error)) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise _wrong(path, f"{place}: {first['msg']}") from error


def _wrong(path: Path, why: str) -> BadInput:
    return BadInput(
        f"The catalogue of free tiers cannot be used: {path.name}: {why}.",
        means="No cloud tier is known; models of this machine are not concerned.",
        remedy=f"Correct {path}.",
    )


@lru_cache(maxsize=1)
def the_catalogue() -> TierCatalogue:
    """The shipped file, read once for each process. Raises BadInput as `read_catalogue` does."""
    return read_catalogue()


@lru_cache(maxsize=1)
def catalogue() -> dict[str, CloudModel]:
    """Every tier of the shipped file by its name."""
    return the_catalogue().tiers()
