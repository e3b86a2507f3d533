"""What the flow `govern` leaves on the server: what the table says, when it is drawn, and that no failure counts."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from blocks.governor_report import DRAWN_KEY, PICTURE_KEY, TABLE_KEY, Artifacts, report, table, unmarked
from blocks.reading_words import WORDS, figure, marks_in_words
from governor.looking import Sensors
from governor.policy.facts import Level, Rung
from governor.policy.pressure import Assessment, Resource
from governor.policy.rules import DEFAULT_MARKS, Rules
from governor.state.models import GovernorTick
from governor.state.sessions import recall, remember
from governor.tick import SEEN_KEY, record_look

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
MARKS = {mark.reading: mark for mark in DEFAULT_MARKS}


class Shelf:
    """FAKE of Prefect's artifact calls: keeps what it is given, or refuses it as a server would."""

    def __init__(self, *refused: str) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self._refused = refused

    def artifacts(self) -> Artifacts:
        return Artifacts(table=self._take, image=self._take)

    def _take(self, *, key: str, **what: Any) -> None:
        if key in self._refused:
            raise httpx.ConnectError("nobody listens")
        self.kept[key] = what


def look(rung: Rung = Rung.NORMAL, at: datetime = NOW, **readings: Any) -> GovernorTick:
    return GovernorTick(
        at=at,
        rung=rung.value,
        pressure="calm",
        dry_run=False,
        readings=readings,
        actions=[],
        reason="calm",
        by="govern",
    )


@pytest.fixture
def written(hotdesk_home: object) -> Callable[..., Shelf]:
    def write(*looks: GovernorTick, now: datetime = NOW, refused: tuple[str, ...] = ()) -> Shelf:
        shelf = Shelf(*refused)
        report(list(looks or (look(),)), ["freed the desk of a dead agent"], now=now, artifacts=shelf.artifacts())
        return shelf

    return write


def test_reading_is_told_in_words_with_its_level_and_the_marks_that_count_now() -> None:
    seen = Assessment(resources={"vram_free_mib": Resource(level=Level.HIGH, streak=2, value=150.4)})
    seen_by = look(vram_free_mib=150.4, on_mains=0.0, kernel_signs="unknown: no permission")
    by_day = table(seen_by, Rules(), seen, now=NOW)
    assert by_day == [
        {
            "reading": "card memory free",
            "value": "150.4 MiB",
            "level": "high",
            "marks": "high at 200 MiB or less, calm at 400 MiB or more; beyond idle models at 100 MiB or less",
        },
        {
            "reading": "warnings of the driver in 5 minutes",
            "value": "unknown: no permission",
            "level": "",
            "marks": "high at 1 or more, calm at 0 or less",
        },
        {"reading": "on mains", "value": "no", "level": "", "marks": ""},
    ]
    by_night = table(seen_by, Rules(), seen, now=NOW.replace(hour=23))
    night = "high at 300 MiB or less, calm at 500 MiB or more (night); beyond idle models at 100 MiB or less"
    assert by_night[0]["marks"] == night


def test_second_condition_of_a_mark_is_told_too() -> None:
    said = marks_in_words(MARKS["swap_mib_per_s"], night=False)
    assert said.startswith("high at 16 MiB/s or more with swap in use 20% or more, calm at 2 MiB/s or less; beyond")
    assert said.endswith("or host memory available, share")


def test_model_that_a_reading_is_about_is_named_unless_the_figure_is_another() -> None:
    seen = Assessment(resources={"speed_percent": Resource(level=Level.CALM, value=90.0, about="small")})
    values = [table(look(speed_percent=at), Rules(), seen, now=NOW)[0]["value"] for at in (90.0, 80.0)]
    assert values == ["90% (small)", "80%"]


def test_everything_that_has_a_mark_or_that_this_machine_can_read_has_words(hotdesk_home: object) -> None:
    read = {reading.name for reading in Sensors()(datetime.now(UTC), 0.0, True)}
    assert sorted((read | set(MARKS)) - set(WORDS)) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("host_available_mib", 2048.0, "2048 MiB"),
        ("psi_memory_some_percent", 0.26, "0.3%"),
        ("gpu_slowed", 1.0, "yes"),
        ("gpu_temperature_c", "unknown: no card", "unknown: no card"),
        ("not_known_here", 3, "3"),
    ],
)
def test_figure_has_its_unit(name: str, value: Any, said: str) -> None:
    assert figure(name, value) == said


def test_description_tells_the_rung_its_reason_and_every_act(written: Callable[..., Shelf]) -> None:
    climbed = look(Rung.TRIM)
    climbed.actions, climbed.reason = ["moved from normal to trim"], "pressure on models_percent"
    said = written(look(), climbed).kept[TABLE_KEY]["description"].splitlines()
    assert said[0] == "rung **trim**, pressure calm: pressure on models_percent"
    assert said[2:] == ["- 12:00:00 moved from normal to trim", "- freed the desk of a dead agent"]


def test_picture_shows_the_looks_of_the_last_day_in_its_address(written: Callable[..., Shelf]) -> None:
    record_look(look(Rung.PAUSE_LINE, NOW - timedelta(hours=25), vram_free_mib=10.0))
    record_look(look(Rung.TRIM, NOW - timedelta(hours=2), vram_free_mib=150.0))
    record_look(look(Rung.NORMAL, NOW, vram_free_mib=4000.0))
    made = written().kept[PICTURE_KEY]
    kind, _, body = made["image_url"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert made["description"] in base64.b64decode(body).decode()
    assert "highest rung was trim, at 10:00" in made["description"]


@pytest.mark.parametrize(
    ("minutes", "rungs", "drawn"),
    [
        (3, ["normal"], False),
        (29, ["normal"], False),
        (30, ["normal"], True),
        (3, ["trim"], True),
        (3, ["trim", "normal"], True),
        (-5, ["normal"], True),  # the clock was set back
    ],
)
def test_picture_is_drawn_when_a_rung_changed_or_half_an_hour_is_over(
    written: Callable[..., Shelf], minutes: int, rungs: list[str], drawn: bool
) -> None:
    assert PICTURE_KEY in written().kept
    later = NOW + timedelta(minutes=minutes)
    again = written(*(look(Rung(rung), later) for rung in rungs), now=later)
    assert (PICTURE_KEY in again.kept) == drawn
    assert TABLE_KEY in again.kept


def test_rung_that_a_sentinel_moved_between_two_runs_is_drawn_once(written: Callable[..., Shelf]) -> None:
    written(look(Rung.NORMAL))
    drawn = [PICTURE_KEY in written(look(Rung.EVICT_IDLE), now=NOW + timedelta(minutes=at)).kept for at in (3, 6)]
    assert drawn == [True, False]


def test_report_that_the_server_refuses_fails_nothing_and_is_tried_again(written: Callable[..., Shelf]) -> None:
    assert set(written(refused=(TABLE_KEY,)).kept) == {PICTURE_KEY}
    remember(DRAWN_KEY, "")
    assert set(written(refused=(PICTURE_KEY,)).kept) == {TABLE_KEY}
    assert recall(DRAWN_KEY) == ""
    assert PICTURE_KEY in written().kept


def test_what_another_release_left_stops_no_report(written: Callable[..., Shelf]) -> None:
    remember(DRAWN_KEY, "yesterday")
    remember(SEEN_KEY, '{"streaks": {}}')
    assert set(written().kept) == {TABLE_KEY, PICTURE_KEY}


def test_what_others_wrote_carries_no_markup_of_its_own():
    assert unmarked("a\n<img src=x> ![x](http://y) `z` *w*") == "a &lt;img src=x> !\\[x\\](http://y) \\`z\\` \\*w\\*"
