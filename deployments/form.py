"""What does not fit the form of an agent: every key, also nested ones, and every value. Pure.

The form is the pydantic model of the flow's parameters; loading it is left to `deployments.flow_parameters`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from deployments.fleet import did_you_mean

# The one parameter of every agent: what stands in it is the form in the UI.
PARAMETERS = "parameters"


@dataclass(frozen=True)
class Problem:
    """What is wrong with one key. `key`: its path, such as `labels.urgent`; `remedy`: what is allowed."""

    key: str
    what: str
    remedy: str

    @property
    def first(self) -> str:
        """The key of the whole form under which it stands."""
        return self.key.split(".")[0]


def problems(model: type[BaseModel], values: Any) -> list[Problem]:
    """What does not fit: unknown keys first, at any depth; then values."""
    if found := list(_unknown(model, values, "")):
        return found
    try:
        model.model_validate(values)
    except ValidationError as error:
        return [
            Problem(".".join(map(str, one["loc"])) or PARAMETERS, one["msg"], allowed(model, one["loc"]))
            for one in error.errors(include_url=False)
        ]
    return []


def allowed(model: type[BaseModel], location: Sequence[int | str]) -> str:
    """What may stand there, in the words of the form."""
    field = model.model_fields.get(str(location[0])) if location else None
    if field is None:
        return "Correct it."
    return f"It is: {field.description}" if field.description else "Correct it."


def _unknown(kind: Any, value: Any, path: str) -> Iterator[Problem]:
    """Keys that a model at any depth does not have."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if isinstance(value, dict) and kind.model_config.get("extra") != "allow":
            yield from _unknown_in(kind, value, path)
    elif get_origin(kind) in (Union, UnionType):
        each = [list(_unknown(one, value, path)) for one in get_args(kind) if _may_hold(one, value)]
        yield from min(each, key=len, default=[])
    elif isinstance(value, dict) and len(get_args(kind)) == 2:
        for key, item in value.items():
            yield from _unknown(get_args(kind)[1], item, f"{path}{key}.")
    elif isinstance(value, list) and get_args(kind):
        for place, item in enumerate(value):
            yield from _unknown(get_args(kind)[0], item, f"{path}{place}.")


def _may_hold(kind: Any, value: Any) -> bool:
    """Whether keys of the value can be looked up in this one of several types."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
    return (isinstance(value, dict) and (is_model or get_origin(kind) is dict)) or (
        isinstance(value, list) and get_origin(kind) in (list, tuple)
    )


def _unknown_in(model: type[BaseModel], value: dict[Any, Any], path: str) -> Iterator[Problem]:
    known = {field.alias or name: field for name, field in model.model_fields.items()}
    for key, item in value.items():
        if key in known:
            yield from _unknown(known[key].annotation, item, f"{path}{key}.")
        else:
            yield Problem(f"{path}{key}", "unknown key", did_you_mean(str(key), known))
