"""The text of `prefect.yaml` with one agent more: where its entry goes, how it is written, when it runs. Pure.

Comments, anchors and everything else stay as they are. Writing the file is left to `deployments.new_agent`.
"""

from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Mapping
from string import Template
from textwrap import indent
from typing import Any

import yaml

from deployments.agents import AGENT_TAG
from deployments.cadence import HOURS, HOUSE_TAG, MINUTES, numbers
from deployments.fleet import Entry

DAY_MINUTES = HOURS * MINUTES
# Fleets that fire together at :00 and :30 fail together.
BUSY_MINUTES = (0, 30)
# The anchors of the file, and what they stand for where somebody took them out.
POOL = ("agents", "{name: hotdesk, work_queue_name: default}")
LIMIT = ("one_at_a_time", "{limit: 1, collision_strategy: CANCEL_NEW}")


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as a block."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def written(template: str, text: str, *, head: Mapping[str, str], form: Mapping[str, Any]) -> str:
    """One entry, as it fits into the file `text`.

    Args:
        template: of all but the form. head: name, description, entrypoint, tags and cron.
        form: the parameters.
    """
    anchors = {event.anchor for event in yaml.parse(text) if getattr(event, "anchor", None)}
    pool, limit = (f"*{name}" if name in anchors else plain for name, plain in (POOL, LIMIT))
    filled = Template(template).substitute(head, pool=pool, limit=limit)
    dumped = yaml.dump(dict(form), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return filled.rstrip("\n") + "\n" + indent(dumped, " " * 6)


def scalar(value: object) -> str:
    """A value on one line."""
    quoted = '"' if isinstance(value, str) and "\n" in value else None
    said = yaml.dump(
        value, Dumper=yaml.SafeDumper, default_style=quoted, default_flow_style=True, allow_unicode=True, width=10_000
    )
    return said.removesuffix("\n").removesuffix("\n...").strip()


def inserted(text: str, entry: str) -> str:
    """The file with the entry before the house's section, at the end where there is none; in its own line ends."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    [items] = [value.value for key, value in root.value if key.value == "deployments"]
    lines, end = text.splitlines(keepends=True), "\r\n" if "\r\n" in text else "\n"
    column = items[0].start_mark.column - 2
    house = next((item.start_mark.line for item in items if _is_house(item)), None)
    if house is None:
        at, after = items[-1].end_mark.line, ""
        lines = lines if lines[-1].endswith("\n") else [*lines[:-1], f"{lines[-1]}{end}"]
        at = len(lines) if at >= len(lines) - 1 else at
    else:
        at, after = house, "\n"
        while at and lines[at - 1].lstrip().startswith("#"):
            at -= 1
    return "".join([*lines[:at], (indent(entry, " " * column) + after).replace("\n", end), *lines[at:]])


def _is_house(item: yaml.MappingNode) -> bool:
    return any(key.value == "tags" and HOUSE_TAG in [tag.value for tag in value.value] for key, value in item.value)


def free_time(entries: Iterable[Entry]) -> tuple[int, int]:
    """Hour and minute of the day that are farthest from every time of every agent."""
    taken: set[int] = set()
    minutes: Counter[int] = Counter()
    for when in (when for entry in entries if AGENT_TAG in entry.tags for when in entry.schedules):
        fields = (when.cron or "").split()
        if len(fields) == 5:
            of_hour = numbers(fields[0], MINUTES)
            taken |= {hour * MINUTES + minute for hour in numbers(fields[1], HOURS) for minute in of_hour}
            minutes.update(of_hour)
    around = sorted({at + day * DAY_MINUTES for at in taken for day in (-1, 0, 1)})  # midnight is no border
    free = [at for at in range(DAY_MINUTES) if at % MINUTES not in BUSY_MINUTES]
    best = max(free, key=lambda at: (_distance(at, around), -minutes[at % MINUTES], -at))
    return divmod(best, MINUTES)


def _distance(at: int, taken: list[int]) -> int:
    """Minutes to the nearest one."""
    place = bisect(taken, at)
    return min((abs(at - one) for one in taken[max(0, place - 1) : place + 1]), default=DAY_MINUTES)
