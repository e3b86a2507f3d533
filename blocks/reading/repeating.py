"""Rules by which events repeat: those that would keep a reader busy are taken out of a calendar, and named."""

import math
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from blocks.untrusted import as_data

if TYPE_CHECKING:
    from icalendar import Calendar

# What repeats more often than once a day is an alarm clock, or an attack: a year of seconds is 31 million events.
TOO_OFTEN = frozenset({"SECONDLY", "MINUTELY", "HOURLY"})
MOST_TIMES_A_DAY = 24
MOST_COMPONENTS = 5000
# A rule that never comes true (30 February) would be followed to the year 9999, which takes seconds. The library ends
# there; so what is not true once in the last 28 years, which have every day of the week in every year, is never.
LAST_YEARS_BEGIN = 9972
# A rule that does come true is followed through this many days and times of the past, in half a second.
MOST_STEPS = 200_000


def thin(calendar: "Calendar", left: list[str], day: date) -> None:
    """Take out what repeats too often, and what is too much."""
    kept = list[Any]()
    for component in calendar.subcomponents:
        often = _times_a_day(component)
        if frequencies(component) & TOO_OFTEN or often > MOST_TIMES_A_DAY or _days(component, day) * often > MOST_STEPS:
            left.append(f"{_title(component)} repeats too often")
        else:
            kept.append(component)
    if len(kept) > MOST_COMPONENTS:
        left.append(f"only the first {MOST_COMPONENTS} entries are read")
    calendar.subcomponents = kept[:MOST_COMPONENTS]


def _days(component: Any, day: date) -> int:
    """How many days its rules are followed through; a day of the year since 1604 (a birthday) is no work."""
    start = getattr(component.get("DTSTART"), "dt", None)
    if not isinstance(start, date) or not any(
        "BYDAY" in one or one.get("FREQ") != ["YEARLY"] for one in _rules(component)
    ):
        return 0
    return max(0, day.toordinal() - start.toordinal())


def end_never(series: "Calendar", left: list[str]) -> None:
    """Of a rule that never comes true only the first time is left."""
    for component in series.subcomponents:
        if component.name == "VEVENT" and component.get("RRULE") and not _comes_true(component):
            del component["RRULE"]
            left.append(f"the rule of {_title(component)} never comes true")


def _title(component: Any) -> str:
    return as_data(str(component.get("SUMMARY", "")), 80) or "an event"


def _comes_true(component: Any) -> bool:
    """Whether its rules, however often they come, ever do."""
    from dateutil.rrule import rrulestr
    from icalendar import vRecur

    start = getattr(component.get("DTSTART"), "dt", None)
    if not isinstance(start, date):
        return True
    begin = datetime(LAST_YEARS_BEGIN, start.month, start.day)  # which zone makes no difference
    for rule in _rules(component):
        plain = {key: value for key, value in rule.items() if key not in ("UNTIL", "COUNT", "INTERVAL")}
        try:
            if next(iter(rrulestr(vRecur(plain).to_ical().decode(), dtstart=begin)), None) is None:
                return False
        except ValueError:  # no rule at all: the library leaves the series out
            continue
    return True


def _rules(component: Any) -> list[Any]:
    rules = component.get("RRULE", [])
    return rules if isinstance(rules, list) else [rules]


def _times_a_day(component: Any) -> int:
    """How often a rule comes on one day, by the hours, minutes and seconds that it lists."""
    listed = [[len(rule.get(part, [0])) for part in ("BYHOUR", "BYMINUTE", "BYSECOND")] for rule in _rules(component)]
    return max((math.prod(counts) for counts in listed), default=1)


def frequencies(component: Any) -> set[str]:
    """Of its rules, `DAILY` only where it is every day."""
    rules = _rules(component)
    return {
        str(often).upper() for one in rules for often in one.get("FREQ", []) if not (often == "DAILY" and len(one) > 1)
    }
