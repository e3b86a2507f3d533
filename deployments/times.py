"""The schedules of a deployment as Prefect's: thinned by the cadence, and off where an operator switched them off.

Pure. How often a machine thins is left to `deployments.cadence`, sending to `deployments.deploying`.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from deployments.cadence import thin
from deployments.fleet import Schedule
from governor.model_catalogue import MOST_CADENCE


def schedules_of(
    written: Sequence[Schedule], before: DeploymentResponse | None, every: int
) -> list[DeploymentScheduleCreate]:
    """The schedules as Prefect's; one that an operator switched off on the server, at any cadence, stays off.

    Those that come to the same times at this cadence run once. One of them that is off stays there as it is written:
    by that it is known again at the next cadence.
    """
    off = _switched_off(written, before.schedules if before else [])
    sent: list[DeploymentScheduleCreate] = []
    by_activity = sorted(enumerate(written), key=lambda one: not (one[1].active and one[0] not in off))
    for at, schedule in by_activity:
        made = _created(schedule, thin(schedule, every), active=schedule.active and at not in off)
        if every > 1 and any(_is_double(made, other) for other in sent):
            if made.active:
                continue
            made = _created(schedule, schedule, active=False)
        sent.append(made)
    return sent


def _created(schedule: Schedule, when: Schedule, *, active: bool) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(
        schedule=_when(when), active=active, parameters=schedule.parameters, slug=schedule.slug
    )


def _is_double(one: DeploymentScheduleCreate, other: DeploymentScheduleCreate) -> bool:
    return one.parameters == other.parameters and one.schedule == other.schedule


def _switched_off(written: Sequence[Schedule], before: Sequence[DeploymentSchedule]) -> set[int]:
    """The places of those that are off on the server.

    A time there can come of more than one that is written: first it is read at the cadence that explains most of what
    is there, which is the one of the last bootstrap; what that does not explain as it is written, then at any cadence.
    """
    # Who moves to another time zone keeps what is off.
    one_zone = len({schedule.timezone for schedule in written}) == 1
    there = [(_identity(old.schedule, one_zone), old.active) for old in before]
    if all(active for _, active in there):
        return set()
    thinned = [[thin(schedule, every) for schedule in written] for every in range(1, MOST_CADENCE + 1)]
    known = {schedule.model_dump_json(): schedule for form in thinned for schedule in form}
    identities = {written_so: _identity(_when(schedule), one_zone) for written_so, schedule in known.items()}
    forms = [[identities[schedule.model_dump_json()] for schedule in form] for form in thinned]
    last = max(forms, key=lambda form: sum(old in form for old, _ in there))
    off: set[int] = set()
    for one in (old for old, active in there if not active):
        places = ({at for at, when in enumerate(form) if when == one} for form in (last, *forms))
        off |= next(filter(None, places), set())
    return off


def _when(schedule: Schedule) -> CronSchedule | IntervalSchedule | RRuleSchedule:
    extras: dict[str, Any] = {"timezone": schedule.timezone} if schedule.timezone else {}
    if schedule.cron is not None:
        extras |= {"day_or": schedule.day_or} if schedule.day_or is not None else {}
        return CronSchedule(cron=schedule.cron, **extras)
    if schedule.rrule is not None:
        return RRuleSchedule(rrule=schedule.rrule, **extras)
    extras |= {"anchor_date": schedule.anchor_date} if schedule.anchor_date else {}
    return IntervalSchedule(interval=timedelta(seconds=schedule.interval or 0), **extras)


def _identity(schedule: Any, one_zone: bool) -> str:
    """All but an interval's anchor, which is the moment of its first saving when none is given.

    Where all times of an agent are in one zone, the zone does not tell them apart.
    """
    return schedule.model_dump_json(exclude={"anchor_date", "timezone"} if one_zone else {"anchor_date"})
