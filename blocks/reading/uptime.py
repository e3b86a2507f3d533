"""Answers of addresses: looked at now, or read from a log (CSV: at, address, status, seconds, problem)."""

import math
from collections.abc import Sequence
from datetime import datetime

from blocks.checking.uptime import SPAN, Probed, Uptime
from blocks.reading.moments import moment
from blocks.reading.places import unreadable
from blocks.reading.rows import last_rows, require

PROBE_SECONDS = 10.0
MOST_ADDRESSES = 50


def probed(addresses: Sequence[str], now: datetime) -> Uptime:
    """Look once at each of the first addresses; one that must not be looked at (a private one, say) is down."""
    from blocks.reading.fetch import probe

    found = []
    for address in addresses[:MOST_ADDRESSES]:
        got = probe(address, seconds=PROBE_SECONDS)
        found.append(
            Probed(address=address, at=now, status=got.status or 0, seconds=got.seconds, problem=got.problem or "")
        )
    return Uptime(probes=tuple(found), left_out=tuple(addresses[MOST_ADDRESSES:]))


def logged(source: str, *, max_bytes: int) -> Uptime:
    """What the end of a log says: the 24 hours that are judged, and what of the time before is within `max_bytes`.

    Raises:
        BadInput: it is no such log, has no line that can be read, or its end is less than the time that is judged.
    """
    part = last_rows(source, max_bytes=max_bytes)
    rows = part.rows
    require(rows, ("at", "address", "status"), source)
    probes = [probe for row in rows if (probe := _probe(row)) is not None]
    if not probes:
        raise unreadable(source, "no line of it can be read")
    times = [probe.at for probe in probes]
    if part.is_cut and max(times) - min(times) < SPAN:
        hours = SPAN.total_seconds() / 3600
        raise unreadable(source, f"its last {max_bytes} bytes (`max_bytes`) are less than {hours:.0f} hours")
    return Uptime(probes=tuple(probes), logged=True, unreadable=len(rows) - len(probes))


def _probe(row: dict[str, str]) -> Probed | None:
    at, status = moment(row["at"]), row["status"] or "0"
    if at is None or not row["address"] or not (status.isascii() and status.isdecimal() and len(status) <= 3):
        return None
    return Probed(
        address=row["address"],
        at=at,
        status=int(status),
        seconds=_seconds(row.get("seconds", "")),
        problem=row.get("problem", ""),
    )


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
