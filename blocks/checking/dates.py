"""Dates in texts, in the notations of English, German and French papers; ambiguous ones are named as such. Pure."""

import re
from dataclasses import dataclass
from datetime import date, timedelta

MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar jänner janvier janv",
            "february feb februar février févr fevrier",
            "march mar märz maerz mrz mars",
            "april apr avril avr",
            "may mai",
            "june jun juni juin",
            "july jul juli juillet juil",
            "august aug août aout",
            "september sep sept septembre",
            "october oct oktober okt octobre",
            "november nov novembre",
            "december dec dezember dez décembre déc decembre",
        ),
        start=1,
    )
    for name in names.split()
}
WEEKDAYS = {
    name: number
    for number, names in enumerate(
        (
            "monday montag lundi",
            "tuesday dienstag mardi",
            "wednesday mittwoch mercredi",
            "thursday donnerstag jeudi",
            "friday freitag vendredi",
            "saturday samstag samedi",
            "sunday sonntag dimanche",
        )
    )
    for name in names.split()
}
MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))
DATE = re.compile(
    rf"(?<![\w.,/-])(?:(?P<y>[0-9]{{4}})[-/.](?P<m>[0-9]{{1,2}})[-/.](?P<d>[0-9]{{1,2}})"
    rf"|(?P<a>[0-9]{{1,2}})(?P<mark>[./-])\s?(?P<b>[0-9]{{1,2}})(?P=mark)\s?(?P<y2>[0-9]{{4}}|[0-9]{{2}})"
    rf"|(?P<d3>[0-9]{{1,2}})(?:st|nd|rd|th|er|\.)?\s+(?:of\s+)?(?P<m3>{MONTH})\b\.?,?\s+(?P<y3>[0-9]{{4}})"
    rf"|(?P<m4>{MONTH})\b\.?\s+(?P<d4>[0-9]{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<y4>[0-9]{{4}}))(?![\w/-]|[.,][0-9])",
    re.IGNORECASE,
)
# A year in two digits is of this century: papers for the books are not older.
CENTURY = 2000
# Other years are parts of numbers.
YEARS = (1900, 2199)
DAY_WORD = re.compile(
    rf"\b(?:{'|'.join(WEEKDAYS)}|tomorrow|morgen|demain|(?:the )?end of (?:the |this )?(?:week|month|year)"
    rf"|(?:the )?next meeting|next week|monatsende|ende der woche)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class FoundDate:
    """A date as it is written, where, and the day it means. `ambiguous`: day and month could be the other way round."""

    raw: str
    start: int
    day: date
    ambiguous: bool = False


def find_dates(text: str) -> list[FoundDate]:
    """All dates of the text that are days of the calendar, in its order.

    `03/04/2026` is read as its other dates are: month first where one of them can only be so, else day first.
    """
    matches = list(DATE.finditer(text))
    month_first = any(_only_month_first(match) for match in matches)
    known = month_first or any(_only_day_first(match) for match in matches)
    return [found for match in matches if (found := _found(match, month_first=month_first, known=known))]


def parsed_date(text: str) -> date | None:
    """The day of a text that is a date and nothing else, None where it is none."""
    found = find_dates(text.strip())
    return found[0].day if len(found) == 1 and found[0].raw == text.strip() else None


def resolved(word: str, told: date | None) -> date | None:
    """The day that a date or a word for a day means when it was said on `told`; None where that cannot be known."""
    day, word = parsed_date(word), word.lower().removeprefix("the ")
    if day is not None or told is None:
        return day
    if word in WEEKDAYS:  # the coming one: said on a Friday, Friday is in a week
        return told + timedelta(days=(WEEKDAYS[word] - told.weekday() - 1) % 7 + 1)
    if word in ("tomorrow", "morgen", "demain"):
        return told + timedelta(days=1)
    if word.endswith("month") or word == "monatsende":
        return (told.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    return None


def _numbers(match: re.Match[str]) -> tuple[int, int] | None:
    """The two first numbers of a date in slashes, whose order differs between countries; of others None."""
    return (int(match["a"]), int(match["b"])) if match["mark"] == "/" else None


def _only_month_first(match: re.Match[str]) -> bool:
    numbers = _numbers(match)
    return numbers is not None and numbers[0] <= 12 < numbers[1]


def _only_day_first(match: re.Match[str]) -> bool:
    numbers = _numbers(match)
    return numbers is not None and numbers[1] <= 12 < numbers[0]


def _found(match: re.Match[str], *, month_first: bool, known: bool) -> FoundDate | None:
    numbers = _numbers(match)
    unclear = not known and numbers is not None and max(numbers) <= 12 and numbers[0] != numbers[1]
    day = _day(match, swapped=month_first and numbers is not None)
    return None if day is None else FoundDate(match.group(), match.start(), day, unclear)


def _day(match: re.Match[str], *, swapped: bool) -> date | None:
    if match["y"]:
        parts = (match["y"], match["m"], match["d"])
    elif match["y2"]:
        first, second = match["a"], match["b"]
        parts = (match["y2"], first, second) if swapped else (match["y2"], second, first)
    else:
        named = ("y3", "m3", "d3") if match["y3"] else ("y4", "m4", "d4")
        parts = tuple(match[name] for name in named)
    year, month, day = (MONTHS[part.lower()] if not part.isdigit() else int(part) for part in parts)
    year += CENTURY if year < 100 else 0
    try:
        return date(year, month, day) if YEARS[0] <= year <= YEARS[1] else None
    except ValueError:
        return None
