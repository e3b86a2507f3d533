"""What an agent is told: what is written, what its operator said, and what somebody edited in the UI. Pure.

Key by key, three ways: what is written now, what the server was told last, what the server has now. Where the server
differs from what it was told, a person was there, and that person's value is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from deployments.form import problems

Values = Mapping[str, Any]
MISSING = object()


@dataclass(frozen=True)
class Merged:
    """What comes of it.

    Attributes:
        parameters: all that the server is told. own: those of the operator. edited: keys edited on the server.
        said: one sentence for each thing that a person should know.
    """

    parameters: dict[str, Any]
    own: dict[str, Any]
    edited: frozenset[str]
    said: tuple[str, ...]


def merge(model: type[BaseModel], written: Values, *, own: Values, told: Values, server: Values | None) -> Merged:
    """The parameters of one agent.

    Args:
        model: of the flow as it is now.
        written: of `prefect.yaml`, checked.
        own: what the operator said before.
        told: what the server was told last, empty where nobody knows: then nothing there counts as edited.
        server: what the server has, None where it has no such deployment.
    """
    edits = _edits(model, own, told, server) if told and server is not None else {}
    kept, said = _fitting(model, written, {**own, **edits})
    kept = {key: value for key, value in kept.items() if value != _filled(model, written, key)}
    new = [key for key in edits if key in kept]
    said = [*said, *(f"keeps {key} = {_short(kept[key])}, as it was edited on the server" for key in new)]
    return Merged({**written, **kept}, kept, frozenset(edits), tuple(said))


def _edits(model: type[BaseModel], own: Values, told: Values, server: Values) -> dict[str, Any]:
    """What a person changed on the server; a key that was emptied there is its default.

    What the operator said since is newer than that: it is not among what was told.
    """
    found = {}
    for key in [*told, *(key for key in server if key not in told)]:
        now, last = _filled(model, server, key), _filled(model, told, key)
        unsent = key in own and key not in told
        if now != last and now is not MISSING and not unsent:
            found[key] = now
    return found


def _fitting(model: type[BaseModel], written: Values, own: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Those that the flow still takes, and a sentence for each that it does not."""
    kept, said = dict(own), []
    while kept and (found := problems(model, {**written, **kept})):
        wrong = {problem.first: problem for problem in found if problem.first in kept}
        if not wrong:  # they fit one by one, but not together with what is written
            return {}, [*said, f"drops its own {', '.join(kept)}: {found[0].what}"]
        for key, problem in wrong.items():
            said.append(f"drops {key} = {_short(kept.pop(key))}: {problem.what}")
    return kept, said


def _filled(model: type[BaseModel], values: Values, key: str) -> Any:
    """The value as JSON, the flow's default where none is given; MISSING without either."""
    if key in values:
        return to_jsonable_python(values[key])
    field = model.model_fields.get(key)
    if field is None or field.is_required():
        return MISSING
    return to_jsonable_python(field.get_default(call_default_factory=True))


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
