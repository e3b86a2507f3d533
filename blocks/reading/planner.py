"""A planner: calendars (.ics) and a list of what is to do (todo.md) in one folder.

Events are those of one local day, whatever they repeat by; `recurring_ical_events` unfolds them.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from markdown_it import MarkdownIt
from pydantic import Field

from blocks.reading.charsets import decoded
from blocks.reading.jail import within
from blocks.reading.markdown_parts import is_dense
from blocks.reading.places import files_in, locate, unreadable
from blocks.reading.repeating import end_never, frequencies, thin
from blocks.untrusted import as_data
from governor.policy.facts import Fact

if TYPE_CHECKING:
    from icalendar import Calendar

CALENDARS = frozenset({".ics"})
TODO, TODO_BYTES = "todo.md", 512 * 1024
# For all series together; a thousand weekly ones of the last ten years take as long.
MOST_SECONDS = 2.0
MOST_EVENTS = 100
MOST_PROBLEMS = 20
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
    read, ends_s = _Read(), time.monotonic() + MOST_SECONDS
    paths = files_in(source, CALENDARS)
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            raw = read.raw(path, name, max_bytes)
            read.files[name] = raw.decode("utf-8", "replace")
            found, off, left = _of_day(raw, day, ZoneInfo(zone), ends_s)
        except Exception as error:  # a calendar can be broken in more ways than its library has errors for
            read.problems.append(f"{name} cannot be read: {type(error).__name__}")
            continue
        read.events |= set(found)
        read.cancelled += off
        read.problems += [f"{name}: {why}" for why in left]
    if not paths:
        read.problems.append("there is no calendar (.ics)")
    todos, done = _todo_list(folder, read, min(max_bytes, TODO_BYTES))
    order = sorted(read.events, key=lambda e: (not e.all_day, e.begins, e.title, e.ends, e.place))
    if len(order) > MOST_EVENTS:
        read.problems.append(f"only the first {MOST_EVENTS} of {len(order)} events are shown")
    return Planner(
        events=tuple(order[:MOST_EVENTS]),
        cancelled=tuple(sorted(read.cancelled)),
        todos=tuple(todos),
        done=done,
        files=read.files,
        problems=tuple(read.problems[:MOST_PROBLEMS]),
    )


@dataclass
class _Read:
    """What was read so far."""

    events: set[Event] = field(default_factory=set)
    cancelled: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def raw(self, path: Path, name: str, most: int) -> bytes:
        """The beginning of a file; that it goes on is a problem."""
        with path.open("rb") as file:
            raw = file.read(most + 1)
        if len(raw) > most:
            self.problems.append(f"{name} is longer than {most} bytes; its end is not read")
        return raw[:most]


def _todo_list(folder: Path, read: _Read, most: int) -> tuple[list[Todo], int]:
    if (path := within(folder, TODO)) is None:
        read.problems.append(f"there is no {TODO}")
        return [], 0
    text = decoded(read.raw(path, TODO, most))
    read.files[TODO] = text
    if is_dense(text):
        read.problems.append(f"{TODO} is not read: it has too many marks")
        return [], 0
    return _todos(text)


def _of_day(raw: bytes, day: date, zone: ZoneInfo, ends_s: float) -> tuple[list[Event], list[str], list[str]]:
    """Events, titles of cancelled ones, and what was left out."""
    import recurring_ical_events
    from icalendar import Calendar

    left = list[str]()
    calendar = Calendar.from_ical(raw)
    assert isinstance(calendar, Calendar)
    thin(calendar, left, day)
    every_day = {str(one.get("UID", "")) for one in calendar.subcomponents if "DAILY" in frequencies(one)}
    begin = datetime(day.year, day.month, day.day, tzinfo=zone)
    end = begin + timedelta(days=1)
    events, off = list[Event](), list[str]()
    for series in _series(calendar):
        if time.monotonic() > ends_s:
            left.append(f"after {MOST_SECONDS:.0f} seconds the rest is not read")
            break
        end_never(series, left)
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
    """A calendar for each series, those without a rule first: one that takes too long is found out before the next."""
    from icalendar import Calendar

    by_uid: dict[str, list[Any]] = {}
    zones = [one for one in calendar.subcomponents if one.name == "VTIMEZONE"]
    for one in calendar.subcomponents:
        if one.name == "VEVENT":
            by_uid.setdefault(str(one.get("UID", "")), []).append(one)
    for uid in sorted(by_uid, key=lambda uid: (any(one.get("RRULE") for one in by_uid[uid]), uid)):
        series = Calendar()
        series.subcomponents = [*zones, *by_uid[uid]]
        yield series


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
