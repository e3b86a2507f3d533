"""The governor's last 24 hours as a picture: the rungs as a band, below it the free memory as a line with its marks.

Pure: rows in, SVG text out. When it is drawn and where it goes is `governor_report`'s to say. It stays small however
much happened (3 to 5 KB), because it shows ten minutes at a time: the highest rung and the least memory of each.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import NamedTuple, TypeVar
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from blocks.reading_words import figure, is_number, words
from governor.policy.facts import Rung
from governor.policy.pressure import Mark
from governor.policy.rules import Rules
from governor.state.models import GovernorTick

DAY, STEP = timedelta(hours=24), timedelta(minutes=10)
COLUMNS = DAY // STEP
# Every zone in use is a multiple of a quarter of an hour away from UTC.
QUARTER, LABEL_EVERY_HOURS = timedelta(minutes=15), 3
RUNGS = {rung.value: at for at, rung in enumerate(Rung)}
# Drawn is the first of these that anybody could read: without a card the host's memory.
DRAWN = ("vram_free_mib", "host_available_percent")
# Pixels: the picture, where the columns begin and how wide one is; the band and the line, each from top to bottom.
WIDTH, HEIGHT, LEFT, COLUMN = 720, 296, 92, 4
RIGHT = LEFT + COLUMN * COLUMNS
ROW, BAND_BOTTOM, ACTS, LINE_TOP, LINE_BOTTOM = 16, 120, 130, 142, 236
# A page may be light while the reader's system is dark, so the picture brings its own ground.
STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#333}.h{font-weight:600}.e{text-anchor:end}.c{text-anchor:middle}"
    ".g{fill:#fff}.n{fill:#000;fill-opacity:.07}.a{stroke:#999;fill:none}.f{stroke:#1c6fb8;fill:none;stroke-width:1.5}"
    ".m{stroke:#b3261e;fill:none;stroke-dasharray:4 3}.k{stroke:#2e7d4f;fill:none;stroke-dasharray:1 3}"
    ".d{stroke:#555;stroke-width:5;stroke-dasharray:0 4}.f,.d{stroke-linecap:round}"
    ".r0{stroke:#79b791}.r1{stroke:#cdb94a}.r2{stroke:#e09a35}.r3{stroke:#d9682b}.r4{stroke:#c0281f}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.g{fill:#17191d}.n{fill:#fff;fill-opacity:.09}.a{stroke:#777}"
    ".f{stroke:#6db3f2}.m{stroke:#ff7a70}.k{stroke:#6cc893}.d{stroke:#bbb}}"
)


T = TypeVar("T")


class Column(NamedTuple):
    """Ten minutes: the highest rung and the least memory, None where nobody looked or could tell."""

    rung: int | None
    free: float | None
    acted: bool
    night: bool


def picture(looks: Sequence[GovernorTick], rules: Rules, *, now: datetime) -> str:
    """The looks of the 24 hours before `now` (aware) as SVG. Looks may come in any order; others are left out."""
    start, drawn = _start(now), _drawn(looks)
    columns = _columns(looks, rules, drawn, start)
    mark = next((mark for mark in rules.marks if mark.reading == drawn), None)
    title = f"The governor's 24 hours until {now.astimezone(ZoneInfo(rules.hours.zone)):%d %b %Y, %H:%M}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'role="img" aria-labelledby="t d">',
        f'<title id="t">{escape(title)}</title><desc id="d">{escape(in_words(looks, rules, now=now))}</desc>',
        f'<style>{STYLE}</style><path class="g" d="M0 0H{WIDTH}V{HEIGHT}H0z"/>',
        _text(LEFT, 20, title, "h"),
        *_nights(columns),
        *_band(columns),
        *_free(columns, drawn, mark),
        *_clock(start, ZoneInfo(rules.hours.zone)),
        *_legend(drawn, mark, rules),
        "</svg>",
    ]
    return "".join(parts)


def in_words(looks: Sequence[GovernorTick], rules: Rules, *, now: datetime) -> str:
    """The same for who cannot see it: the highest rung, the least memory, the acts, and how long nobody looked."""
    start, drawn, zone = _start(now), _drawn(looks), ZoneInfo(rules.hours.zone)
    within = sorted((look for look in looks if _at(look, start) is not None), key=lambda look: look.at)
    if not within:
        return "Nobody looked in the last 24 hours."
    top = max(within, key=lambda look: RUNGS.get(look.rung, -1))
    said = [f"Now {within[-1].rung}; the highest rung was {top.rung}, at {top.at.astimezone(zone):%H:%M}."]
    known = [look for look in within if is_number(look.readings.get(drawn))]
    if known:
        least = min(known, key=lambda look: look.readings[drawn])
        value, at = figure(drawn, least.readings[drawn]), least.at.astimezone(zone)
        said.append(f"Least {words(drawn)}: {value}, at {at:%H:%M}.")
    said.append(f"Looks with an act: {sum(_acted(look) for look in within)}.")
    blind = COLUMNS - len({_at(look, start) for look in within})
    return " ".join([*said, f"Nobody looked for {blind * STEP / timedelta(hours=1):.1f} hours."] if blind else said)


def _start(now: datetime) -> datetime:
    """Of the first column; the last one holds `now`."""
    since = now - datetime.min.replace(tzinfo=now.tzinfo)
    return now - since % STEP + STEP - DAY


def _at(look: GovernorTick, start: datetime) -> int | None:
    column = (look.at - start) // STEP
    return column if 0 <= column < COLUMNS else None


def _drawn(looks: Sequence[GovernorTick]) -> str:
    return next((name for name in DRAWN if any(is_number(look.readings.get(name)) for look in looks)), DRAWN[-1])


def _acted(look: GovernorTick) -> bool:
    """Whether it did more than move: the band shows that."""
    return not look.dry_run and any(not str(act).startswith("moved from") for act in look.actions)


def _columns(looks: Sequence[GovernorTick], rules: Rules, drawn: str, start: datetime) -> list[Column]:
    inside: list[list[GovernorTick]] = [[] for _ in range(COLUMNS)]
    for look in looks:
        if (at := _at(look, start)) is not None:
            inside[at].append(look)
    return [
        Column(
            rung=max((RUNGS[look.rung] for look in here if look.rung in RUNGS), default=None),
            free=min((look.readings[drawn] for look in here if is_number(look.readings.get(drawn))), default=None),
            acted=any(_acted(look) for look in here),
            night=rules.hours.is_night(start + at * STEP),
        )
        for at, here in enumerate(inside)
    ]


def _runs(values: Sequence[T]) -> Iterator[tuple[T, int, int]]:
    """Each stretch of equal values, from x to x."""
    at = LEFT
    for value, stretch in groupby(values):
        wide = COLUMN * len(list(stretch))
        yield value, at, at + wide
        at += wide


def _nights(columns: Sequence[Column]) -> Iterator[str]:
    top = BAND_BOTTOM - ROW * len(RUNGS)
    dark = [(x, end) for night, x, end in _runs([c.night for c in columns]) if night]
    yield _path("n", (f"M{x} {top}H{end}V{LINE_BOTTOM}H{x}z" for x, end in dark))


def _band(columns: Sequence[Column]) -> Iterator[str]:
    """A step for each rung, higher and darker the firmer it is, and a dot for each ten minutes with an act."""
    runs = list(_runs([c.rung for c in columns]))
    for name, at in RUNGS.items():
        high = ROW * (at + 1)
        yield _text(LEFT - 6, BAND_BOTTOM - high + 12, name.replace("_", " "), "e")
        steps = (f"M{x} {BAND_BOTTOM - high // 2}h{end - x}" for rung, x, end in runs if rung == at)
        yield _path(f"r{at}", steps, f' stroke-width="{high}"')
    yield _path("a", [f"M{LEFT} {BAND_BOTTOM}H{RIGHT}"])
    yield _text(LEFT - 6, ACTS + 4, "acts", "e")
    acts = _runs([c.acted for c in columns])
    yield _path("d", (f"M{x + COLUMN // 2} {ACTS}h{end - x - COLUMN}.1" for acted, x, end in acts if acted))


def _free(columns: Sequence[Column], drawn: str, mark: Mark | None) -> Iterator[str]:
    bands = [mark.band(night=c.night) for c in columns] if mark else []
    most = max([c.free for c in columns if c.free is not None] + [band.low for band in bands], default=0.0)
    top = _round_up(most) if drawn != "host_available_percent" else 100.0

    def y(value: float) -> int:
        return round(LINE_BOTTOM - (LINE_BOTTOM - LINE_TOP) * min(1.0, max(0.0, value / top)))

    yield _path("a", [f"M{LEFT} {LINE_TOP}V{LINE_BOTTOM}H{RIGHT}"])
    yield _text(LEFT - 6, LINE_TOP + 8, figure(drawn, top), "e") + _text(LEFT - 6, LINE_BOTTOM, "0", "e")
    yield _path("m", (f"M{x} {at}H{end}" for at, x, end in _runs([y(band.high) for band in bands])))
    yield _path("k", (f"M{x} {at}H{end}" for at, x, end in _runs([y(band.low) for band in bands])))
    points = [(LEFT + COLUMN * at + COLUMN // 2, c.free) for at, c in enumerate(columns)]
    stretches = (list(stretch) for known, stretch in groupby(points, lambda p: p[1] is not None) if known)
    yield _path("f", (_stroke([(x, y(free or 0.0)) for x, free in stretch]) for stretch in stretches))


def _stroke(points: Sequence[tuple[int, int]]) -> str:
    """From point to point in steps, which are shorter to write; a single one is a dot."""
    steps = (f"{x - was_x} {y - was_y}" for (was_x, was_y), (x, y) in pairwise(points))
    return f"M{points[0][0]} {points[0][1]}l" + (" ".join(steps).replace(" -", "-") or "0 0")


def _clock(start: datetime, zone: ZoneInfo) -> Iterator[str]:
    """The hours on the wall of the zone; a day on which the clock jumps is shown as it was."""
    for at in range(DAY // QUARTER):
        moment = start - timedelta(minutes=start.minute % 15) + (at + 1) * QUARTER
        wall = moment.astimezone(zone)
        if wall.minute == 0 and wall.hour % LABEL_EVERY_HOURS == 0:
            x = LEFT + round((moment - start) / STEP * COLUMN)
            yield _path("a", [f"M{x} {LINE_BOTTOM}v4"]) + _text(x, LINE_BOTTOM + 16, f"{wall:%H:%M}", "c")


def _legend(drawn: str, mark: Mark | None, rules: Rules) -> Iterator[str]:
    line = f"line: {words(drawn)}, the least of 10 minutes"
    if mark:
        line += f" · dashed: trouble at {figure(drawn, mark.high)} · dotted: calm at {figure(drawn, mark.low)}"
    yield _text(LEFT, LINE_BOTTOM + 36, line)
    more = f" (other marks by night: {mark.night.high:g}, {mark.night.low:g})" if mark and mark.night else ""
    yield _text(LEFT, LINE_BOTTOM + 52, f"shaded: night{more} · blank: nobody looked · times: {rules.hours.zone}")


def _round_up(value: float) -> float:
    """To the next 1, 2, 4, 6 or 8 of a power of ten: as far up as the axis goes."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)


def _path(kind: str, strokes: Iterable[str], more: str = "") -> str:
    return f'<path class="{kind}"{more} d="{d}"/>' if (d := "".join(strokes)) else ""


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}"{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(text)}</text>'
