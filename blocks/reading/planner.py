"""A planner: calendars (.ics) and a list of what is to do (todo.md) in one folder.

Events are those of one local day, whatever they repeat by; `recurring_ical_events` unfolds them.
"""

import math
import re
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from markdown_it import MarkdownIt
from pydantic import Field

from blocks.reading.charsets import decoded
from blocks.reading.places import files_in, locate, unreadable
from blocks.untrusted import as_data
from governor.policy.facts import Fact

if TYPE_CHECKING:
    from icalendar import Calendar

CALENDARS = frozenset({".ics"})
TODO = "todo.md"
# What repeats more often than once a day is an alarm clock, or an attack: a year of seconds is 31 million events.
TOO_OFTEN = frozenset({"SECONDLY", "MINUTELY", "HOURLY"})
MOST_TIMES_A_DAY = 24
MOST_COMPONENTS = 5000
# A rule that never comes true (30 February) is followed to the year 9999, in seconds to half a minute.
MOST_SECONDS = 20.0
MOST_EVENTS = 100
TASK = re.compile(r"\[( |x|X)\]\s+(.+)", re.DOTALL)
DUE = re.compile(r"\(?\bdue:?\s+(\d{4}-\d{2}-\d{2})\)?", re.IGNORECASE)


class Event(Fact):
    """Something in the calendar. Times are local; '' for one that began or ends on another day.

    Attributes:
        daily: it comes back every day, so that nobody has to be told of it.
    """

    title: str
    begins: str = ""
    ends: str = ""
    place: str = ""
    all_day: bool = False
    daily: bool = False

    @property
    def words(self) -> str:
        """In one line."""
        when = "all day" if self.all_day else f"{self.begins or 'since yesterday'} to {self.ends or 'tomorrow'}"
        return f"{when}: {self.title}" + (f" ({self.place})" if self.place else "")


class Todo(Fact):
    """Something to do. `due`: None where no date, or none that exists, is named."""

    text: str
    due: date | None = None
    high: bool = False


class Planner(Fact):
    """All of it. `files`: what was read, with what it says; `problems`: what cannot be read, and why."""

    events: tuple[Event, ...] = ()
    cancelled: tuple[str, ...] = ()
    todos: tuple[Todo, ...] = ()
    done: int = 0
    files: dict[str, str] = Field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_planner(source: str, day: date, zone: str, *, max_bytes: int) -> Planner:
    """The events of a day and all that is to do; a file that is missing or broken is named among the problems.

    Raises:
        BadInput: the source is no folder.
    """
    folder = locate(source)
    if not folder.is_dir():
        raise unreadable(source, "it is no folder with calendars (.ics) and a todo.md")
    events, cancelled, problems, files = list[Event](), list[str](), list[str](), dict[str, str]()
    paths = files_in(source, CALENDARS)
    for path in paths:
        raw = _bytes(path, max_bytes)
        files[path.name] = raw.decode("utf-8", "replace")
        try:
            found, off, left = _of_day(raw, day, ZoneInfo(zone))
        except Exception as error:  # a calendar can be broken in more ways than its library has errors for
            problems.append(f"{path.name} cannot be read: {type(error).__name__}")
            continue
        events += found
        cancelled += off
        problems += [f"{path.name}: {why}" for why in left]
    if not paths:
        problems.append("there is no calendar (.ics)")
    todos, done = list[Todo](), 0
    if (folder / TODO).is_file():
        files[TODO] = decoded(_bytes(folder / TODO, max_bytes))
        todos, done = _todos(files[TODO])
    else:
        problems.append(f"there is no {TODO}")
    order = sorted(set(events), key=lambda e: (not e.all_day, e.begins, e.title))[:MOST_EVENTS]
    return Planner(
        events=tuple(order),
        cancelled=tuple(sorted(cancelled)),
        todos=tuple(todos),
        done=done,
        files=files,
        problems=tuple(problems),
    )


def _bytes(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most)


def _of_day(raw: bytes, day: date, zone: ZoneInfo) -> tuple[list[Event], list[str], list[str]]:
    """Events, titles of cancelled ones, and what was left out."""
    import recurring_ical_events
    from icalendar import Calendar

    left = list[str]()
    calendar = Calendar.from_ical(raw)
    assert isinstance(calendar, Calendar)
    _thin(calendar, left)
    every_day = {str(one.get("UID", "")) for one in calendar.subcomponents if "DAILY" in _frequencies(one)}
    begin = datetime(day.year, day.month, day.day, tzinfo=zone)
    end, ends_s = begin + timedelta(days=1), time.monotonic() + MOST_SECONDS
    events, off = list[Event](), list[str]()
    for series in _series(calendar):
        if time.monotonic() > ends_s:
            left.append(f"after {MOST_SECONDS:.0f} seconds the rest is not read")
            break
        unfolded = recurring_ical_events.of(series, skip_bad_series=True).between(begin, end)
        for found in islice(unfolded, MOST_EVENTS):
            title = as_data(str(found.get("SUMMARY", "")), 120) or "(without a title)"
            if str(found.get("STATUS", "")).upper() == "CANCELLED":
                off.append(title)
            else:
                daily = str(found.get("UID", "")) in every_day
                events.append(_event(found, title, begin, end).model_copy(update={"daily": daily}))
    return events, off, left


def _series(calendar: "Calendar") -> Iterator["Calendar"]:
    """A calendar for each series: one that takes too long is found out before the next."""
    from icalendar import Calendar

    by_uid: dict[str, list[Any]] = {}
    zones = [one for one in calendar.subcomponents if one.name == "VTIMEZONE"]
    for one in calendar.subcomponents:
        if one.name == "VEVENT":
            by_uid.setdefault(str(one.get("UID", "")), []).append(one)
    for uid in sorted(by_uid):
        series = Calendar()
        series.subcomponents = [*zones, *by_uid[uid]]
        yield series


def _thin(calendar: "Calendar", left: list[str]) -> None:
    """Take out what repeats too often, and what is too much."""
    for component in [*calendar.subcomponents]:
        if _frequencies(component) & TOO_OFTEN or _times_a_day(component) > MOST_TIMES_A_DAY:
            calendar.subcomponents.remove(component)
            left.append(f"{as_data(str(component.get('SUMMARY', 'an event')), 80)} repeats too often")
    if len(calendar.subcomponents) > MOST_COMPONENTS:
        left.append(f"only the first {MOST_COMPONENTS} entries are read")
        del calendar.subcomponents[MOST_COMPONENTS:]


def _rules(component: Any) -> list[Any]:
    rules = component.get("RRULE", [])
    return rules if isinstance(rules, list) else [rules]


def _times_a_day(component: Any) -> int:
    """How often a rule comes on one day, by the hours, minutes and seconds that it lists."""
    listed = [[len(rule.get(part, [0])) for part in ("BYHOUR", "BYMINUTE", "BYSECOND")] for rule in _rules(component)]
    return max((math.prod(counts) for counts in listed), default=1)


def _frequencies(component: Any) -> set[str]:
    """Of its rules, `DAILY` only where it is every day."""
    rules = _rules(component)
    return {
        str(often).upper() for one in rules for often in one.get("FREQ", []) if not (often == "DAILY" and len(one) > 1)
    }


def _event(found: Any, title: str, begin: datetime, end: datetime) -> Event:
    place = as_data(str(found.get("LOCATION", "")), 80)
    starts, stops = found.start, found.end
    if not isinstance(starts, datetime):
        return Event(title=title, place=place, all_day=True)
    zone = begin.tzinfo
    times = (starts, stops if isinstance(stops, datetime) else end)
    starts, stops = (t.astimezone(zone) if t.tzinfo else t.replace(tzinfo=zone) for t in times)
    if starts <= begin and stops >= end:
        return Event(title=title, place=place, all_day=True)
    return Event(
        title=title,
        place=place,
        begins=f"{starts:%H:%M}" if starts >= begin else "",
        ends=f"{stops:%H:%M}" if stops <= end else "",
    )


def _todos(text: str) -> tuple[list[Todo], int]:
    """Open tasks in their order, and how many are done. Only task list items (`- [ ] ...`) are tasks."""
    tokens, found, done = MarkdownIt("commonmark").parse(text), list[Todo](), 0
    for before, token in pairwise(tokens):
        task = TASK.match(token.content) if token.type == "inline" and before.type == "paragraph_open" else None
        if task is None:
            continue
        if task[1] != " ":
            done += 1
            continue
        due = DUE.search(task[2])
        said = as_data(DUE.sub("", task[2]).replace("!high", ""), 160).rstrip(" -,")
        found.append(Todo(text=said, due=_date(due[1]) if due else None, high="!high" in task[2]))
    return found, done


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
