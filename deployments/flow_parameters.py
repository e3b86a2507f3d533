"""The flows of the fleet, loaded, and every parameter of `prefect.yaml` compared with the flow's own model.

Imports the flow files and Prefect, so its environment must be applied before. Sends nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

from prefect.exceptions import MissingFlowError, ScriptError
from prefect.flows import Flow, load_flow_from_entrypoint
from pydantic import BaseModel

from deployments.fleet import Entry, refused
from deployments.form import PARAMETERS, problems
from governor.errors import BadInput


def load_flows(entries: Sequence[Entry], root: Path) -> dict[str, Flow[..., Any]]:
    """The flow of every entrypoint, once each, after a look at every parameter.

    Raises:
        BadInput: a flow file cannot be imported, or a key or a value of a deployment does not fit its model.
    """
    flows = {entrypoint: load_flow(entrypoint, root) for entrypoint in dict.fromkeys(e.entrypoint for e in entries)}
    for entry in entries:
        check_entry(entry, flows[entry.entrypoint])
    return flows


def load_flow(entrypoint: str, root: Path) -> Flow[..., Any]:
    """The flow object of `flows/FILE.py:FUNCTION`.

    Raises:
        BadInput: the file cannot be imported, or what has that name in it is no flow.
    """
    try:
        return load_flow_from_entrypoint(str(root / entrypoint), use_placeholder_flow=False)
    except (ScriptError, MissingFlowError) as error:
        why = repr(error.user_exc) if isinstance(error, ScriptError) else "once it is loaded that is no flow"
        raise BadInput(
            f"The flow `{entrypoint}` cannot be imported: {why}.",
            means="Nothing was deployed.",
            remedy="Correct the file, then run `hotdesk bootstrap`.",
        ) from error


def model_of(flow: Flow[..., Any]) -> type[BaseModel] | None:
    """The model of the flow's form, None where it has none."""
    hint = get_type_hints(flow.fn).get(PARAMETERS)
    return hint if isinstance(hint, type) and issubclass(hint, BaseModel) else None


def form_of(entry: Entry) -> dict[str, Any]:
    """What `prefect.yaml` says in the form."""
    found = entry.parameters.get(PARAMETERS)
    return found if isinstance(found, dict) else {}


def check_entry(entry: Entry, flow: Flow[..., Any]) -> None:
    """Compare what the entry says, also for single schedules, with the flow's model.

    Raises:
        BadInput: with the deployment, the key and what is allowed.
    """
    model = model_of(flow)
    if model is None:
        return
    written = [entry.parameters, *(schedule.parameters for schedule in entry.schedules)]
    for form in (parameters[PARAMETERS] for parameters in written if PARAMETERS in parameters):
        for problem in problems(model, form):
            raise refused(f"deployment `{entry.name}`: `{problem.key}`: {problem.what}", problem.remedy)
