"""One case of `burst` in a process of its own: Prefect's client is tied to one server for as long as a process lives.

Prints progress on stderr and its figures as one JSON object on the last line. `burst` runs it; so may a person.
"""

import argparse
import json
import os
import random
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments.environment import own_port
from deployments.services import log_file
from tests.benchmarks.burst_family import Family, difference, family_of, peak_figures
from tests.benchmarks.burst_figures import ad_hoc, calls_by_path, cpu, most_called, read_notes, refused, requests, times
from tests.benchmarks.report import end_cleanly_on_sigterm, rounded, say
from tests.benchmarks.server import RealServer, real_server

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

    from tests.benchmarks.burst_ground import Way

NOTES, LINE, SLOTS = "burst.jsonl", "gpu", 1  # as in burst_flow, which imports Prefect
# A worker looks 10 s ahead for what is due; all runs must be known before that, as those of a schedule are.
AHEAD_SECONDS = 20.0
# A run takes 0.05 s to make; a server that locks its database takes several times that.
CREATE_SECONDS_EACH = 0.2
LEAST_AHEAD_SECONDS = 10.0
# Until a worker that was just started has polled twice.
SETTLE_SECONDS = 12.0
# A process worker with a limit of 4 needs about 5 s a run.
MOST_SECONDS_EACH, SPARE_SECONDS = 15.0, 180.0
AD_HOC_SECONDS = 90.0
# Between two ad-hoc runs, drawn evenly, so that they fall anywhere between two polls.
LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 1.0, 5.0
LOOK_SECONDS, ASK_SECONDS = 0.25, 5.0
SEED = 8


def main() -> int:
    """Exit status 0 when everything was measured, whatever came out of it."""
    options = _options()
    end_cleanly_on_sigterm()
    # uvicorn says every request; the line costs it microseconds.
    os.environ["PREFECT_SERVER_LOGGING_LEVEL"] = "INFO"
    with real_server() as server:
        try:
            print(json.dumps(_measure(server, options)), flush=True)
        finally:
            if options.keep:
                _keep(server, options.keep)
    return 0


def _keep(server: RealServer, folder: Path) -> None:
    """Notes and logs, which else go with the state folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (Path(server.where.root) / NOTES, *Path(server.where.logs).glob("*.log")):
        if path.exists():
            shutil.copy(path, folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.burst_case", description=__doc__)
    parser.add_argument("--way", choices=["ours", "process"], default="ours")
    parser.add_argument("--pool-type", default="hotdesk")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--hold-seconds", type=float, default=0.2)
    parser.add_argument("--limit", type=int, default=4, help="of a worker started by hand")
    parser.add_argument("--by-hand", action="store_true", help="ours started as `prefect worker start --type hotdesk`")
    parser.add_argument("--ad-hoc", type=int, default=0, help="so many runs one at a time, in place of the burst")
    parser.add_argument("--keep", type=Path, help="folder for the notes and logs, which else go with the state folder")
    return parser.parse_args()


def _measure(server: RealServer, options: argparse.Namespace) -> dict[str, Any]:
    from prefect.client.orchestration import get_client

    from tests.benchmarks import burst_ground as ground

    ours = options.way == "ours"
    kind, by_hand = options.pool_type if ours else ground.PROCESS, options.by_hand or not ours
    way = ground.Way(options.way, kind, options.limit, by_hand)
    server.make_limit(LINE, SLOTS)
    with get_client(sync_client=True) as client:
        ground.make_pool(client, way)
        deployments = ground.make_deployments(client, 1 if options.ad_hoc else options.runs)
        with (
            ground.worker(server.where, own_port(server.where), way) as started,
            family_of(server.where.root) as family,
        ):
            time.sleep(SETTLE_SECONDS)
            case = Case(server, client, family, way, options.hold_seconds)
            found = case.one_by_one(deployments[0], options.ad_hoc) if options.ad_hoc else case.at_once(deployments)
            return {"way": way.name, "hold_seconds": options.hold_seconds, "worker": started, **found}


class Case:
    """One server, one worker, and what is measured on them."""

    def __init__(
        self, server: RealServer, client: "SyncPrefectClient", family: Family, way: "Way", hold_seconds: float
    ) -> None:
        self._server, self._client, self._family = server, client, family
        self._way, self._hold_seconds = way, hold_seconds
        self._log = log_file(server.where, "server")

    def at_once(self, deployments: list["UUID"]) -> dict[str, Any]:
        """One run of each, all due at the same second."""
        from tests.benchmarks.burst_ground import ends, submit

        count = len(deployments)
        due_at = float(int(time.time() + AHEAD_SECONDS + CREATE_SECONDS_EACH * count))
        for deployment in deployments:
            submit(self._client, deployment, self._hold_seconds, datetime.fromtimestamp(due_at, UTC))
        before, read, spare = self._family.spent(), self._log.stat().st_size, due_at - time.time()
        say(f"{self._way.name}: {count} runs of {self._hold_seconds} s are due in {spare:.1f} s")
        self._wait(count, due_at + SPARE_SECONDS + count * (MOST_SECONDS_EACH + self._hold_seconds))
        spent, log = difference(self._family.spent(), before), self._log_since(read)
        calls = calls_by_path(log)
        notes = self._notes()
        return {
            **times(ends(self._client), notes, due_at),
            **cpu(spent, notes, count, requests(calls)),
            **peak_figures(self._family),
            "known_before_due_seconds": rounded(spare),
            "all_known_in_time": spare >= LEAST_AHEAD_SECONDS,
            "server_failures": refused(log),
            "calls_a_run": most_called(calls, count),
        }

    def one_by_one(self, deployment: "UUID", count: int) -> dict[str, Any]:
        """Each made when the one before is over and the worker idle."""
        from tests.benchmarks.burst_ground import submit

        pauses, submitted = random.Random(SEED), {}
        for number in range(1, count + 1):
            at = time.time()
            submitted[submit(self._client, deployment, self._hold_seconds)] = at
            self._wait(number, at + AD_HOC_SECONDS)
            time.sleep(pauses.uniform(LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS))
        found = ad_hoc(submitted, self._notes())
        say(f"{self._way.name}: {found}")
        return found

    def _wait(self, count: int, until: float) -> None:
        """Until so many runs have ended and their processes too, or the bound.

        The server is asked seldom: only once the notes say that all are through, or for those that cannot note.
        """
        from tests.benchmarks.burst_ground import check_alive, how_many_ended

        next_ask = time.time() + ASK_SECONDS
        while (now := time.time()) < until:
            through = sum("left_at" in note for note in self._notes().values()) >= count
            if (through or now >= next_ask) and how_many_ended(self._client) >= count:
                break
            if now >= next_ask:
                check_alive(self._server.where, self._way)
                next_ask = now + ASK_SECONDS
            time.sleep(LOOK_SECONDS)
        while self._family.runs_alive() and time.time() < until:
            time.sleep(LOOK_SECONDS)

    def _notes(self) -> dict[str, dict[str, float]]:
        try:
            return read_notes((Path(self._server.where.root) / NOTES).read_text())
        except FileNotFoundError:
            return {}

    def _log_since(self, read: int) -> list[str]:
        with self._log.open("rb") as log:
            log.seek(read)
            return log.read().decode(errors="replace").splitlines()


if __name__ == "__main__":
    sys.exit(main())
