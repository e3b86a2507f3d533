"""What a burst of runs comes to. Pure: the runs note, the server says how each ended, this counts.

Moments are seconds of the wall's clock, which all processes of one machine share.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.report import percentile, quotient, rounded

COMPLETED, CRASHED = "Completed", "Crashed"
# uvicorn's line of one request; a websocket has another form and is counted apart.
REQUEST = re.compile(r'"(?P<verb>[A-Z]+) (?P<path>/[^ "?]*)[^"]*" (?P<status>\d{3})')
SOCKET = re.compile(r'"WebSocket (?P<path>/[^ "?]*)[^"]*" \[accepted\]')
IDENTITY = re.compile(r"/[0-9a-f]{8}-[0-9a-f-]{27}")


@dataclass(frozen=True)
class Ended:
    """What the server says of one run. `state` is the state's name; `ended_at` None: it has not ended."""

    run: str
    state: str
    ended_at: float | None
    message: str = ""


Notes = Mapping[str, Mapping[str, float]]


def read_notes(text: str) -> dict[str, dict[str, float]]:
    """By run, all that it noted; a line that is not whole yet is left out."""
    notes: dict[str, dict[str, float]] = {}
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            said = json.loads(line)
            notes.setdefault(said.pop("run"), {}).update(said)
    return notes


def times(ended: Sequence[Ended], notes: Notes, due_at: float) -> dict[str, Any]:
    """Ends, first lines and makespans, in seconds after `due_at`."""
    states = Counter(one.state for one in ended)
    first = [note["first_line_at"] - due_at for note in notes.values() if "first_line_at" in note]
    stood_up = [note["left_at"] - due_at for note in notes.values() if "left_at" in note]
    ends = [one.ended_at - due_at for one in ended if one.ended_at is not None]
    return {
        "runs": len(ended),
        "completed": states[COMPLETED],
        "crashed": states[CRASHED],
        "other_ends": {state: count for state, count in sorted(states.items()) if state not in (COMPLETED, CRASHED)},
        "first_line_p50_seconds": rounded(percentile(first, 0.5), 2),
        "first_line_p95_seconds": rounded(percentile(first, 0.95), 2),
        "makespan_seconds": rounded(max(ends, default=None), 2) if len(ends) == len(ended) else None,
        "last_stand_up_seconds": rounded(max(stood_up, default=None), 2),
        "desk_idle_seconds": rounded(_idle_seconds(notes), 2),
        "why_not_completed": dict(Counter(one.message[:200] for one in ended if one.state != COMPLETED)),
    }


def _idle_seconds(notes: Notes) -> float | None:
    """How long nobody sat between the first seat and the last stand-up."""
    seats = [(note["seated_at"], note["left_at"]) for note in notes.values() if "left_at" in note]
    if not seats:
        return None
    return max(left for _, left in seats) - min(seated for seated, _ in seats) - sum(left - at for at, left in seats)


def cpu(spent: Mapping[str, float], notes: Notes, runs: int, calls: int) -> dict[str, Any]:
    """CPU seconds of one run: its own process by stages, and what it cost the others.

    Args:
        spent: seconds by who spent them: `run` (all processes of runs), `worker`, `fork_server`, `server`.
        calls: requests that the server answered in the same time.
    """
    first = sum(note.get("cpu_at_first_line_s", 0.0) for note in notes.values())
    at_end = sum(note.get("cpu_at_end_s", 0.0) for note in notes.values())
    own = max(spent.get("run", 0.0), at_end)
    each = {
        "run": own,
        "run_to_first_line": first,
        "run_in_flow": at_end - first,
        "run_after_flow": own - at_end,
        **{who: seconds for who, seconds in spent.items() if who != "run"},
    }
    return {
        "cpu_seconds_a_run": {who: rounded(quotient(seconds, runs), 3) for who, seconds in each.items()},
        "server_calls_a_run": rounded(quotient(calls, runs), 1),
        "server_cpu_ms_a_call": rounded(quotient(1000 * spent.get("server", 0.0), calls), 2),
    }


def ad_hoc(submitted: Mapping[str, float], notes: Notes) -> dict[str, Any]:
    """From the call that made a run, and from its process, to its first line. `submitted`: by run, when."""
    waits = [notes[run]["first_line_at"] - at for run, at in submitted.items() if run in notes]
    starts = [notes[run]["since_start_s"] for run in submitted if run in notes]
    return {
        "runs": len(submitted),
        "began": len(waits),
        "submit_to_first_line_p50_seconds": rounded(percentile(waits, 0.5), 3),
        "submit_to_first_line_p95_seconds": rounded(percentile(waits, 0.95), 3),
        "start_to_first_line_p50_seconds": rounded(percentile(starts, 0.5), 3),
        "start_to_first_line_p95_seconds": rounded(percentile(starts, 0.95), 3),
    }


def calls_by_path(log: Iterable[str]) -> Counter[str]:
    """Requests by verb and path, what names one thing left out of it; websockets under WS."""
    found: Counter[str] = Counter()
    for line in log:
        if match := REQUEST.search(line):
            found[f"{match['verb']} {IDENTITY.sub('/ID', match['path'])}"] += 1
        elif match := SOCKET.search(line):
            found[f"WS {match['path']}"] += 1
    return found


def refused(log: Iterable[str]) -> int:
    """Requests that the server answered with its own failure, such as 503 for a locked database."""
    return sum(int(match["status"]) >= 500 for line in log if (match := REQUEST.search(line)))


def requests(calls: Mapping[str, int]) -> int:
    """How many of them were requests."""
    return sum(count for call, count in calls.items() if not call.startswith("WS "))


def most_called(calls: Mapping[str, int], per: float, most: int = 12) -> dict[str, float | None]:
    """The most frequent ones, each divided by `per`: runs or minutes."""
    by_count = sorted(calls.items(), key=lambda one: -one[1])[:most]
    return {call: rounded(quotient(count, per), 2) for call, count in by_count}
