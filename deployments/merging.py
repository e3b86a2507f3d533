"""What an agent is told: what is written, what its operator said, and what somebody edited in the UI. Pure.

Key by key, three ways: what is written now, what the server was told last, what the server has now. Where the server
differs from what it was told, a person was there, and that person's value is kept. What an operator said stays said
where it is written so too: another day something else may be written. Only a source that is written is no wish.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from deployments.form import problems

Values = Mapping[str, Any]
MISSING = object()
SOURCE, PRIVACY = "source", "privacy"
# Beside the keys that the server was told, what the flow's defaults were then; no parameter can have this name.
DEFAULTS = "(defaults)"


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
        told: what the server was told last (`record_of`), empty where nobody knows: nothing counts as edited then.
        server: what the server has, None where it has no such deployment.
    """
    edits = _edits(model, own, told, server) if told and server is not None else {}
    kept, said = _fitting(model, written, {**own, **edits}, edits)
    back = {key for key in kept if kept[key] == _filled(model, written, key) and (key in edits or key == SOURCE)}
    gone = [key for key in own if key in back and own[key] != kept[key]]
    kept = {key: value for key, value in kept.items() if key not in back}
    new = [key for key in edits if key in kept]
    said += [f"keeps {key} = {_short(kept[key])}, as it was edited on the server" for key in new]
    said += [f"gives up {key} = {_short(own[key])}: on the server it is as written again" for key in gone]
    return Merged({**written, **kept}, kept, frozenset(edits), tuple(said))


def record_of(model: type[BaseModel], sent: Values) -> dict[str, Any]:
    """What the server is told, with the flow's defaults of now: a form that fills them in later edits nothing."""
    defaults = {key: value for key in model.model_fields if (value := _filled(model, {}, key)) is not MISSING}
    return {**sent, DEFAULTS: {key: value for key, value in defaults.items() if key not in sent}}


def _edits(model: type[BaseModel], own: Values, told: Values, server: Values) -> dict[str, Any]:
    """What a person changed on the server; a key that was emptied there is its default.

    What the operator said since is newer than that: it is not among what was told.
    """
    last_defaults, found = told.get(DEFAULTS, {}), {}
    for key in [*(key for key in told if key != DEFAULTS), *(key for key in server if key not in told)]:
        now, last = _filled(model, server, key), _filled(model, {**last_defaults, **told}, key)
        unsent = key in own and key not in told
        if now != last and now is not MISSING and not unsent:
            found[key] = now
    return found


def _fitting(model: type[BaseModel], written: Values, own: Values, edits: Values) -> tuple[dict[str, Any], list[str]]:
    """Those that the flow still takes, and a sentence for each that it does not."""
    kept, said = dict(own), []
    while kept and (found := problems(model, {**written, **kept})):
        wrong = {problem.first: problem for problem in found if problem.first in kept}
        if not wrong:  # they fit one by one, but not together with what is written
            wrong = {_first_to_go(model, written, kept, edits): found[0]}
        for key, problem in wrong.items():
            said.append(f"drops {key} = {_short(kept.pop(key))}: {problem.what}")
    return kept, said


def _first_to_go(model: type[BaseModel], written: Values, kept: Values, edits: Values) -> str:
    """Which one gives way: one without which all the others fit; of several an edit; source and privacy last."""
    in_turn = sorted(kept, key=lambda key: (key == SOURCE, key == PRIVACY, key not in edits))

    def fits(without: str) -> bool:
        return not problems(model, {**written, **{key: kept[key] for key in kept if key != without}})

    return next(filter(fits, in_turn), in_turn[0])


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
