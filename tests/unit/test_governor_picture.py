"""The picture of the governor's day: well-formed, small, and true about gaps, nights and the clock."""

import random
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest

from blocks.governor_picture import COLUMN, LEFT, RIGHT, in_words, picture
from blocks.governor_report import data_address
from governor.policy.facts import Rung
from governor.policy.rules import Rules
from governor.policy.watermarks import Hours
from governor.state.models import GovernorTick

NOW = datetime(2026, 6, 1, 12, 5, tzinfo=UTC)
ROOM_BYTES = 8192
SVG = "{http://www.w3.org/2000/svg}"


def look(ago: timedelta, rung: str = "normal", *, acts: tuple[str, ...] = (), **readings: Any) -> GovernorTick:
    return GovernorTick(
        at=NOW - ago, rung=rung, pressure="calm", dry_run=False, readings=readings, actions=list(acts), reason="calm"
    )


def minutes(count: int) -> timedelta:
    return timedelta(minutes=count)


def strokes(svg: str, kind: str) -> str:
    """What is drawn of one kind, '' where nothing is."""
    drawn = [path.get("d", "") for path in ElementTree.fromstring(svg).iter(f"{SVG}path") if path.get("class") == kind]
    return " ".join(drawn)


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_picture_has_a_title_and_a_description_and_names_every_rung() -> None:
    drawn = ElementTree.fromstring(picture([], Rules(), now=NOW))
    assert drawn.get("role") == "img"
    assert drawn.findtext(f"{SVG}title") == "The governor's 24 hours until 01 Jun 2026, 12:05"
    assert drawn.findtext(f"{SVG}desc") == "Nobody looked in the last 24 hours."
    assert {rung.value.replace("_", " ") for rung in Rung} <= set(texts(picture([], Rules(), now=NOW)))


def test_day_on_which_everything_changes_all_the_time_stays_small() -> None:
    chance = random.Random(5)
    looks = [
        look(
            minutes(at), chance.choice(list(Rung)), acts=("evicted",) * (at % 3), vram_free_mib=chance.uniform(0, 24e3)
        )
        for at in range(0, 24 * 60, 3)
    ]
    svg = picture(looks, Rules(hours=Hours(zone="America/Argentina/ComodRivadavia")), now=NOW)
    ElementTree.fromstring(svg)
    assert len(data_address(svg)) <= ROOM_BYTES


def test_ten_minutes_show_their_highest_rung_and_their_least_memory() -> None:
    looks = [
        look(minutes(4), "evict_idle", vram_free_mib=1000.0),
        look(minutes(3), "trim", vram_free_mib=500.0),
        look(minutes(2), "normal", vram_free_mib="unknown: the driver lost the card"),
    ]
    svg = picture(looks, Rules(marks=()), now=NOW)
    assert strokes(svg, "r2").startswith(f"M{RIGHT - COLUMN} ")
    assert strokes(svg, "r0") == strokes(svg, "r1") == ""
    assert strokes(svg, "f") == f"M{RIGHT - COLUMN // 2} {round(236 - 94 * 500 / 600)}l0 0"
    assert "600 MiB" in texts(svg)


@pytest.mark.parametrize("kind", ["r0", "f"])
def test_nothing_is_drawn_where_nobody_looked(kind: str) -> None:
    svg = picture([look(minutes(at), vram_free_mib=900.0) for at in (0, 10, 40, 50)], Rules(), now=NOW)
    begins = [int(x) for x in re.findall(r"M(\d+)", strokes(svg, kind))]
    inset = COLUMN // 2 if kind == "f" else 0
    assert begins == [RIGHT - 6 * COLUMN + inset, RIGHT - 2 * COLUMN + inset]


def test_looks_of_another_day_and_rungs_of_another_release_are_left_out() -> None:
    looks = [look(timedelta(hours=25), "trim"), look(-timedelta(hours=1), "trim"), look(minutes(0), "a<b&c")]
    svg = picture(looks, Rules(), now=NOW)
    assert [strokes(svg, f"r{at}") for at in range(5)] == [""] * 5
    assert "a<b&c" in (ElementTree.fromstring(svg).findtext(f"{SVG}desc") or "")


def test_card_is_drawn_where_there_is_one_and_the_host_elsewhere() -> None:
    both = picture([look(minutes(1), vram_free_mib=900.0, host_available_percent=50.0)], Rules(), now=NOW)
    host = picture([look(minutes(1), vram_free_mib="unknown: x", host_available_percent=50.0)], Rules(), now=NOW)
    assert any("dashed: trouble at 200 MiB" in text for text in texts(both))
    assert any("dashed: trouble at 10%" in text for text in texts(host))


def test_marks_step_where_the_night_begins() -> None:
    svg = picture([look(minutes(1), vram_free_mib=900.0)], Rules(), now=NOW)
    heights = re.findall(r"M\d+ (\d+)", strokes(svg, "m"))
    assert len(heights) == 3 and heights[0] == heights[2] > heights[1]


@pytest.mark.parametrize(
    ("now", "hours"),
    [
        (datetime(2026, 3, 29, 18, 0, tzinfo=UTC), 7),  # 02:00 to 03:00 does not come
        (datetime(2026, 10, 25, 18, 0, tzinfo=UTC), 9),  # 02:00 to 03:00 comes twice
        (datetime(2026, 6, 1, 18, 0, tzinfo=UTC), 8),
    ],
)
def test_night_is_shaded_as_long_as_it_lasts_on_the_clock_of_the_zone(now: datetime, hours: int) -> None:
    svg = picture([], Rules(hours=Hours(zone="Europe/Berlin")), now=now)
    begin, end = re.findall(r"M(\d+) \d+H(\d+)", strokes(svg, "n"))[0]
    assert int(end) - int(begin) == hours * 6 * COLUMN
    assert {"00:00", "03:00", "06:00"} <= set(texts(svg))


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "Asia/Kolkata", "UTC"])
def test_hours_stand_under_their_column_in_every_zone(zone: str) -> None:
    svg = picture([], Rules(hours=Hours(zone=zone)), now=NOW)
    labels = {text.text: float(text.get("x", 0)) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")}
    offset = {"Asia/Kathmandu": 345, "Asia/Kolkata": 330, "UTC": 0}[zone]
    at_noon = datetime(2026, 6, 1, 12, 0, tzinfo=UTC) - timedelta(minutes=offset)
    start = datetime(2026, 5, 31, 12, 10, tzinfo=UTC)
    assert labels["12:00"] == pytest.approx(LEFT + (at_noon - start) / timedelta(minutes=10) * COLUMN, abs=1)


def test_dot_stands_for_an_act_and_not_for_a_step_or_a_dry_run() -> None:
    dry = look(minutes(30), acts=("evicted small",))
    dry.dry_run = True
    looks = [look(minutes(1), acts=("moved from normal to trim",)), look(minutes(20), acts=("evicted small",)), dry]
    svg = picture(looks, Rules(), now=NOW)
    assert len(re.findall("M", strokes(svg, "d"))) == 1
    assert "Looks with an act: 1." in in_words(looks, Rules(), now=NOW)
