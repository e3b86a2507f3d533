"""The whole fleet once, as a newcomer has it: `hotdesk up --once` in a fresh state folder, on a port of its own.

The figures are those of `logs/round.json` and of the database that the round leaves behind; nothing is judged here
that `hotdesk` has not judged itself. The baseline is no other program: it is the same seats back to back.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sqlalchemy import select

from governor.settings import Home
from governor.state.models import Ticket
from governor.state.sessions import reading
from tests.benchmarks import machine
from tests.benchmarks.report import Report, end_cleanly_on_sigterm, quotient, rounded, say
from tests.benchmarks.server import free_port, temporary_home
from tests.conftest import shipped_weights

MOST_MINUTES = 10.0
LEAST_WRITTEN, LEAST_VERIFIED = 0.9, 0.6
# The round ends by itself: 10 minutes and 30 s an agent. This is for what comes before and after it, too.
MOST_SECONDS = 3600.0
STOP_SECONDS = 90.0


def main() -> int:
    """Exit status 0 when everything was measured, whatever came out of it."""
    options = _options()
    end_cleanly_on_sigterm()
    report = Report("fleet_round", machine.describe())
    with temporary_home() as where:
        weights = shipped_weights()
        (where.weights / weights.name).symlink_to(weights)
        code, seconds = _up(where, options.only)
        path = where.logs / "round.json"
        if not path.exists():
            say(f"hotdesk up ended with {code} and no round; see what it said above")
            return 1
        facts = json.loads(path.read_text())
        seats = _seats()
    report.ours = _ours(facts, code, seconds) | {"seats": seats["seats"]}
    report.baseline = seats
    busiest = max(seats["seat_seconds"].values(), default=None)
    report.ratio = {"round_over_busiest_desk": rounded(quotient(facts["round_seconds"], busiest), 2)}
    _judge(report, facts, whole=not options.only)
    report.emit()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fleet_round", description=__doc__)
    parser.add_argument("--only", help="kinds or agents, as for `hotdesk up`: to see that it runs, no figures")
    return parser.parse_args()


def _up(where: Home, only: str | None) -> tuple[int, float]:
    """Run it to its end, its words on stderr; the exit status, and the seconds from the command to its end."""
    command = [Path(sys.executable).parent / "hotdesk", "up", "--once", "--no-tour", "--port", str(free_port())]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "HOTDESK_"))}
    began_s = time.monotonic()
    child = subprocess.Popen(
        [*command, *(["--only", only] if only else [])],
        env={**environment, "HOTDESK_HOME": str(where.root)},
        stdout=sys.stderr,
    )
    try:
        return child.wait(MOST_SECONDS), time.monotonic() - began_s
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait(STOP_SECONDS)


def _ours(facts: dict[str, Any], code: int, seconds: float) -> dict[str, Any]:
    kept = ("round_seconds", "up_seconds", "first_output_seconds", "crashed", "total", "kinds", "verdict")
    lost = [one for one in facts["agents"] if one["state"] != "written"]
    return {
        "command_minutes": rounded(seconds / 60, 2),
        "exit_code": code,
        **{name: facts[name] for name in kept},
        "not_written": [{name: one[name] for name in ("agent", "state", "message")} for one in lost],
    }


def _seats() -> dict[str, Any]:
    """By line, how long its desk was taken: no round of these seats could be shorter than the busiest of them."""
    taken: dict[str, float] = {}
    with reading() as session:
        rows = session.execute(select(Ticket.line, Ticket.seated_at, Ticket.ended_at).where(Ticket.state == "done"))
        seats = [(line, begun, ended) for line, begun, ended in rows if begun and ended]
    for line, begun, ended in seats:
        taken[line] = taken.get(line, 0.0) + (ended - begun).total_seconds()
    return {
        "what": "the same seats back to back at each desk, no waiting and no start of a process between them",
        "seats": len(seats),
        "seat_seconds": {line: rounded(seconds) for line, seconds in sorted(taken.items())},
    }


def _judge(report: Report, facts: dict[str, Any], *, whole: bool) -> None:
    """Hold it against what a round of the whole fleet should come to; of a part only what does not depend on it."""
    total, minutes = facts["total"], report.ours["command_minutes"]
    share, verified = quotient(total["written"], total["agents"]), total["verified_share"]
    report.expect(
        "minutes",
        f"the whole fleet in at most {MOST_MINUTES:.0f} minutes, start and end of everything included",
        {"minutes": minutes, "agents": total["agents"]} if whole else None,
        minutes <= MOST_MINUTES,
    )
    for name, count in (
        ("failed", total["failed"] + total["unfinished"]),
        ("crashed", facts["crashed"]),
        ("skipped", total["skipped"]),
    ):
        report.expect(name, "none", {name: count}, count == 0)
    reach = f"at least {LEAST_WRITTEN:.0%} of the agents wrote an output"
    report.expect("written", reach, {"share": rounded(share, 3)}, share is not None and share >= LEAST_WRITTEN)
    reach = f"at least {LEAST_VERIFIED:.0%} of the calls verified with the model's own text"
    got = None if verified is None else {"share": verified, "calls": total["calls"]}
    report.expect("verified", reach, got, verified is not None and verified >= LEAST_VERIFIED)


if __name__ == "__main__":
    sys.exit(main())
