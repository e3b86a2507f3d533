"""One side of `idle` in a process of its own: a server, workers, the fleet's deployments, nothing due but the house.

Prints progress on stderr and its figures as one JSON object on the last line. `idle` runs it; so may a person.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deployments.bootstrap_names import DEFAULT_QUEUE, GOVERNOR_QUEUE
from deployments.cadence import HOUSE_TAG
from deployments.environment import client_environment, own_port
from deployments.fleet import Entry, read_fleet
from deployments.services import log_file, start_service, stop_service
from governor.profile import current_profile
from governor.settings import Home
from tests.benchmarks.burst_family import Family, Moment, difference, family_of
from tests.benchmarks.burst_figures import calls_by_path, most_called, requests
from tests.benchmarks.report import end_cleanly_on_sigterm, percentile, quotient, rounded, say
from tests.benchmarks.server import RealServer, real_server

# Two workers, as before there was one of our own: their limits and names.
PROCESS_POOL, PROCESS_WORKERS = "processes", {"worker": (DEFAULT_QUEUE, 4), "governor-worker": (GOVERNOR_QUEUE, 2)}
SAMPLE_SECONDS = 10.0
# What follows a start (the first schedules of 50 deployments, a first poll) is not idleness.
SETTLE_SECONDS = 45.0
# From the choice of who is held back to the beginning of the watch, and what a worker looks ahead.
BEFORE_SECONDS, AHEAD_SECONDS = 240.0, 30.0
SAY_EVERY_SECONDS = 60.0


def main() -> int:
    """Exit status 0 when everything was measured, whatever came out of it."""
    options = _options()
    end_cleanly_on_sigterm()
    os.environ["PREFECT_SERVER_LOGGING_LEVEL"] = "INFO"  # uvicorn says every request
    with real_server() as server:
        print(json.dumps(_measure(server, options)), flush=True)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.idle_case", description=__doc__)
    parser.add_argument("--way", choices=["ours", "process"], default="ours")
    parser.add_argument("--minutes", type=float, default=10.0)
    return parser.parse_args()


def _measure(server: RealServer, options: argparse.Namespace) -> dict[str, Any]:
    from deployments.bootstrap import bootstrap

    seconds = 60 * options.minutes
    entries, held_back = quiet(read_fleet(), datetime.now(UTC), seconds + BEFORE_SECONDS + AHEAD_SECONDS)
    if options.way == "process":
        entries = _at_the_process_pool(entries)
    began_s = time.monotonic()
    done = bootstrap(current_profile(), entries, say=say)
    bootstrap_seconds = time.monotonic() - began_s
    with family_of(server.where.root, SAMPLE_SECONDS) as family:
        say("the server alone")
        time.sleep(SETTLE_SECONDS)
        alone = _watch(family, server, min(60.0, seconds))
        with _workers(server.where, options.way):
            time.sleep(SETTLE_SECONDS)
            found = _watch(family, server, seconds)
    return {
        "way": options.way,
        "deployments": len(done.deployments),
        "held_back": held_back,
        "bootstrap_seconds": rounded(bootstrap_seconds),
        "server_alone": {name: alone[name] for name in ("cpu_percent", "calls_a_minute", "pss_mib")},
        **found,
        "sampling_cpu_seconds": rounded(family.cpu_s, 2),
    }


def quiet(entries: Sequence[Entry], now: datetime, seconds: float) -> tuple[list[Entry], list[str]]:
    """The fleet with every agent paused that would be due within `seconds`, and their names; the house goes on."""
    due = [entry for entry in entries if HOUSE_TAG not in entry.tags and _is_due(entry, now, seconds)]
    paused = [entry.model_copy(update={"paused": True}) if entry in due else entry for entry in entries]
    return paused, [f"{Path(entry.flow_file).stem}/{entry.name}" for entry in due]


def _is_due(entry: Entry, now: datetime, seconds: float) -> bool:
    """Whether one of its times is near; one that is no cron counts as near."""
    from prefect.server.schemas.schedules import CronSchedule

    for schedule in entry.schedules:
        if schedule.cron is None:
            return True
        when = CronSchedule(cron=schedule.cron, timezone=schedule.timezone or "UTC")
        if asyncio.run(when.get_dates(n=1, start=now, end=now + timedelta(seconds=seconds))):
            return True
    return False


def _at_the_process_pool(entries: Sequence[Entry]) -> list[Entry]:
    """The same fleet in a pool of Prefect's own type, which is made here."""
    from prefect.client.orchestration import get_client

    from tests.benchmarks.burst_ground import PROCESS, Way, make_pool

    with get_client(sync_client=True) as client:
        make_pool(client, Way(PROCESS, PROCESS, 0), PROCESS_POOL)
    return [
        entry.model_copy(update={"work_pool": entry.work_pool.model_copy(update={"name": PROCESS_POOL})})
        for entry in entries
    ]


@contextmanager
def _workers(where: Home, way: str) -> Iterator[None]:
    """What takes the runs, beside the block."""
    from deployments.worker import start_workers, stop_workers
    from tests.benchmarks.burst_ground import POLL_SECONDS, PROCESS, worker_argv

    port = own_port(where)
    say(f"{way}: starting what takes the runs")
    try:
        if way == "ours":
            start_workers(where, current_profile(), port)
        else:
            env = {**client_environment(where, port), "PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS)}
            for name, (queue, limit) in PROCESS_WORKERS.items():
                start_service(where, name, worker_argv(PROCESS_POOL, PROCESS, limit, queue), env=env)
        yield
    finally:
        left = stop_workers(where) if way == "ours" else [n for n in PROCESS_WORKERS if not stop_service(where, n)]
        if left:
            say(f"these could not be stopped: {', '.join(left)}")


def _watch(family: Family, server: RealServer, seconds: float) -> dict[str, Any]:
    """CPU, memory and calls of so many seconds."""
    log = log_file(server.where, "server")
    before, read, first = family.spent(), log.stat().st_size, len(family.moments)
    began_s = time.monotonic()
    while (left := began_s + seconds - time.monotonic()) > 0:
        time.sleep(min(left, SAY_EVERY_SECONDS))
        say(f"watched {time.monotonic() - began_s:.0f} of {seconds:.0f} s")
    passed = time.monotonic() - began_s
    spent = difference(family.spent(), before)
    with log.open("rb") as lines:
        lines.seek(read)
        calls = calls_by_path(lines.read().decode(errors="replace").splitlines())
    return {
        "seconds": rounded(passed),
        "cpu_percent": _percent(spent, passed),
        **memory(family.moments[first:]),
        "calls_a_minute": rounded(60 * requests(calls) / passed, 1),
        "server_cpu_ms_a_call": rounded(quotient(1000 * spent.get("server", 0.0), requests(calls)), 1),
        "calls_by_path_a_minute": most_called(calls, passed / 60),
    }


def _percent(spent: dict[str, float], seconds: float) -> dict[str, float | None]:
    """Of one core."""
    by_role = {role: rounded(100 * cpu_s / seconds, 2) for role, cpu_s in sorted(spent.items())}
    return {**by_role, "all": rounded(100 * sum(spent.values()) / seconds, 2)}


def memory(moments: Sequence[Moment]) -> dict[str, Any]:
    """MiB by role, the median of the samples in which it was there; and all together, median and most."""
    roles = sorted({role for moment in moments for role in moment.pss_mib})

    def medians(of: str) -> dict[str, float | None]:
        each = {role: [mib for one in moments if (mib := getattr(one, of).get(role, 0.0)) > 0] for role in roles}
        return {role: rounded(percentile(found, 0.5)) for role, found in each.items()}

    together = [moment.all_mib for moment in moments]
    return {
        "rss_mib": medians("rss_mib"),
        "pss_mib": medians("pss_mib"),
        "pss_mib_all_p50": rounded(percentile(together, 0.5)),
        "pss_mib_all_most": rounded(max(together, default=None)),
        "share_of_samples_with_a_run": rounded(quotient(sum(one.runs > 0 for one in moments), len(moments)), 2),
    }


if __name__ == "__main__":
    sys.exit(main())
