"""How often agents run on a weak machine: every so-manieth of the times that are written. Pure; sends nothing.

Only what runs more than once a day is thinned, and never below once a day. What is written stays in `prefect.yaml`: a
cadence of 1 brings it back. Schedules that cannot be thinned surely (rrule, crons of another shape) stay as written.
"""

import re
from collections.abc import Sequence

from deployments.fleet import Entry, Schedule
from governor.policy.facts import Profile

# Times of the house (the governor's own looks) are not an agent's.
HOUSE_TAG = "house"
DAY_SECONDS = 86_400.0
MINUTES, HOURS = 60, 24
ITEM = re.compile(r"(?:\*|(?P<first>\d{1,2})(?:-(?P<last>\d{1,2}))?)(?:/(?P<step>\d{1,2}))?")
ORDINALS = {2: "second", 3: "third", 4: "fourth", 6: "sixth", 8: "eighth"}


def thin_entry(entry: Entry, every: int) -> Entry:
    """The deployment with every `every`-th of its times; the same one where nothing is to be thinned."""
    if every <= 1 or HOUSE_TAG in entry.tags:
        return entry
    schedules = tuple(thin(schedule, every) for schedule in entry.schedules)
    return entry if schedules == entry.schedules else entry.model_copy(update={"schedules": schedules})


def thin(schedule: Schedule, every: int) -> Schedule:
    """A schedule with every `every`-th of its times, at least one a day; as written where that cannot be said."""
    if schedule.interval is not None and schedule.interval < DAY_SECONDS:
        return schedule.model_copy(update={"interval": min(DAY_SECONDS, schedule.interval * every)})
    if schedule.cron is None:
        return schedule
    return schedule.model_copy(update={"cron": thin_cron(schedule.cron, every)})


def thin_cron(cron: str, every: int) -> str:
    """The same for a cron of five fields. Minutes are counted anew in each hour, hours in each day.

    Where its minutes do not suffice, its hours are thinned too; what does not divide evenly runs rather more often.
    """
    fields = cron.split()
    if every <= 1 or len(fields) != 5:
        return cron
    minutes, hours = numbers(fields[0], MINUTES), numbers(fields[1], HOURS)
    if not minutes or not hours or len(minutes) * len(hours) < 2:
        return cron
    of_minutes = min(every, len(minutes))
    of_hours = every // of_minutes
    return " ".join((_field(minutes[::of_minutes], MINUTES), _field(hours[::of_hours], HOURS), *fields[2:]))


def less_often(entries: Sequence[Entry], profile: Profile) -> str:
    """What this profile does to the fleet's times, for a person; '' when it leaves them as written."""
    agents = sum(thin_entry(entry, profile.cadence) is not entry for entry in entries)
    if not agents:
        return ""
    who, verb, whose, them = ("agent that runs", "runs", "its", "it")
    if agents > 1:
        who, verb, whose, them = ("agents that run", "run", "their", "them")
    return (
        f"profile {profile.name}: {agents} {who} several times a day {verb} at {in_words(profile.cadence)}"
        f" of {whose} times; HOTDESK_CADENCE=1 keeps {them} as written"
    )


def in_words(every: int) -> str:
    """`every second`, of their times."""
    return f"every {ORDINALS.get(every, f'{every}th')}"


def numbers(field: str, size: int) -> list[int]:
    """The numbers that a field names, in order; none when it is of another shape."""
    found: set[int] = set()
    for item in field.split(","):
        read = ITEM.fullmatch(item)
        if read is None:
            return []
        first = int(read["first"] or 0)
        to_the_end = read["first"] is None or (read["step"] is not None and read["last"] is None)
        last = size - 1 if to_the_end else int(read["last"] or first)
        step = int(read["step"] or 1)
        if not first <= last < size or not step:
            return []
        found |= set(range(first, last + 1, step))
    return sorted(found)


def _field(values: Sequence[int], size: int) -> str:
    """The shortest way to write them."""
    step = values[1] - values[0] if len(values) > 1 else 0
    if not step or list(values) != list(range(values[0], values[-1] + 1, step)):
        return ",".join(map(str, values))
    if values[0] == 0 and values[-1] + step >= size:
        return "*" if step == 1 else f"*/{step}"
    return f"{values[0]}-{values[-1]}/{step}" if len(values) > 2 else ",".join(map(str, values))
