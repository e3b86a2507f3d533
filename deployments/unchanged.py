"""Whether a deployment is on the server as it would be sent: every field is compared, for anybody may have edited it.

Pure. What is sent is left to `deployments.deploying`. In doubt the answer is no: to send it once more costs 0.1 s.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from pydantic_core import to_jsonable_python

# The same under the same name, in what is sent and in what is there.
SAME = (
    "name",
    "version",
    "description",
    "parameters",
    "work_pool_name",
    "job_variables",
    "enforce_parameter_schema",
    "parameter_openapi_schema",
    "entrypoint",
    "pull_steps",
    "concurrency_options",
)
ANCHOR = "anchor_date"


def is_there(found: DeploymentResponse, sent: Mapping[str, Any]) -> bool:
    """Whether to send it would change nothing. An anchor that nobody gave an interval is the moment of its saving."""
    if any(_json(getattr(found, key)) != _json(sent[key]) for key in SAME):
        return False
    limit = found.global_concurrency_limit
    return (
        list(found.tags) == list(sent["tags"])
        and sent["paused"] in (None, found.paused)
        and sent["work_queue_name"] in (None, found.work_queue_name)
        and (limit.limit if limit else None) == sent["concurrency_limit"]
        and (limit is None or limit.active)
        and _are_there(found.schedules, sent["schedules"])
    )


def _are_there(found: Sequence[DeploymentSchedule], sent: Sequence[DeploymentScheduleCreate]) -> bool:
    """When, whether it is on, with which parameters; in whichever order, for the server's is its own."""
    loose = not any(ANCHOR in one.schedule.model_fields_set for one in sent)
    return sorted(_time(one, loose) for one in found) == sorted(_time(one, loose) for one in sent)


def _time(one: DeploymentSchedule | DeploymentScheduleCreate, loose: bool) -> str:
    when = one.schedule.model_dump(mode="json", exclude={ANCHOR} if loose else None)
    return _json([when, bool(one.active), one.parameters or {}, one.slug])


def _json(value: Any) -> str:
    """As text, for Python takes 1, 1.0 and True for the same."""
    return json.dumps(to_jsonable_python(value), sort_keys=True)
