"""Children, the fork server, the worker and the server are killed under a real worker: no run stays open for good."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient

from deployments.services import running
from deployments.worker import WORKER, stop_workers
from governor.settings import Home
from tests.conftest import at_home, talking_to
from tests.crash.test_server_restarts import Server
from tests.integration.worker_stage import WorkerStage, is_there, kill, until, worker_stage

PLACES = 4
# Of `hotdesk down`.
GRACE_SECONDS = 15.0
# Longer than a client's first tries; then it waits longer and longer.
AWAY_SECONDS, BACK_SECONDS = 5.0, 120.0


@pytest.fixture(scope="module")
def stage(
    quiet_server: Home, client: SyncPrefectClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerStage]:
    folder = tmp_path_factory.mktemp("flows")
    with at_home(quiet_server), talking_to(quiet_server), worker_stage(quiet_server, client, folder, PLACES) as made:
        yield made


@pytest.fixture
def worker(stage: WorkerStage) -> Iterator[WorkerStage]:
    """With a worker that runs; what a test that failed left goes on to its end."""
    if running(stage.where, WORKER) is None:
        stage.start_worker()
    yield stage
    stage.all_go()


@pytest.mark.long
def test_a_killed_fork_server_costs_no_run_and_the_next_one_begins(worker: WorkerStage):
    run, pid = worker.begins("a")
    before = worker.fork_server().pid
    kill(before)
    until(lambda: not is_there(before))
    next_one = worker.ask("b", "say", file="warm")
    assert worker.ends(next_one).is_completed()
    assert worker.fork_server().pid != before
    assert is_there(pid)
    worker.go(run)
    assert worker.ends(run).is_completed()


def test_runs_of_a_killed_worker_go_on_and_are_watched_by_the_next_one(worker: WorkerStage):
    (first, _), (second, _), (third, third_pid) = (worker.begins(name) for name in "abc")
    fourth, fourth_pid = worker.begins("alone", alone=True)
    kill(worker.worker_pid)
    worker.go(first)
    assert worker.ends(first).is_completed(), "while no worker runs"
    worker.start_worker()
    until(lambda: worker.log().count("event=orphan_adopted") == 3, picture=worker.log)

    fifth, _ = worker.begins("d")
    sixth = worker.ask("e", "wait")
    until(lambda: f"1 waits: {PLACES} of {PLACES} run" in worker.log(), picture=worker.log)
    worker.cancel(third)
    assert worker.ends(third).is_cancelled()
    until(lambda: not is_there(third_pid))
    worker.said(sixth)

    kill(fourth_pid)
    crashed = worker.ends(fourth)
    assert crashed.is_crashed()
    assert "without a word" in (crashed.message or "")
    assert worker.ends(worker.ask("alone", "say")).is_completed(), "its agent has its place again"
    for run in (second, fifth, sixth):
        worker.go(run)
        assert worker.ends(run).is_completed()


@pytest.mark.long
def test_a_cancel_asked_for_while_no_worker_runs_is_done(worker: WorkerStage):
    run, pid = worker.begins("cancelled-alone")
    gone, gone_pid = worker.begins("gone")
    kill(worker.worker_pid)
    for asked in (run, gone):
        worker.cancel(asked)
    kill(gone_pid)
    worker.start_worker()
    assert worker.ends(run).is_cancelled()
    assert (worker.folder / f"{run.id}.hooks").read_text() == "hook\n"
    assert worker.ends(gone).is_cancelled()
    until(lambda: not is_there(pid))


@pytest.mark.long
def test_a_stopped_worker_ends_its_runs_within_the_grace(worker: WorkerStage):
    runs = [worker.begins(f"stopped-{number}") for number in range(3)]
    begun_s = time.monotonic()
    assert stop_workers(worker.where) == []
    assert time.monotonic() - begun_s < GRACE_SECONDS
    for run, pid in runs:
        assert not is_there(pid)
        assert worker.state(run).is_crashed()


@pytest.mark.long
def test_a_stop_ends_also_what_a_killed_worker_left(worker: WorkerStage):
    _, pid = worker.begins("left")
    forks = worker.fork_server().pid
    kill(worker.worker_pid)
    assert stop_workers(worker.where) == []
    assert not is_there(pid)
    assert not is_there(forks)


@pytest.fixture
def small_group(tmp_path: Path) -> Iterator[Path]:
    """A group of processes whose memory ends at 64 MiB."""
    argv = [sys.executable, "-m", "tests.benchmarks.hog_ground", "--group-mib", "64", "--folder", str(tmp_path)]
    made = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert made.stdin is not None
    assert made.stdout is not None
    said = json.loads(made.stdout.readline())
    if said["group"]:
        yield Path(said["group"])
    made.stdin.close()
    made.wait(GRACE_SECONDS)
    made.stdout.close()
    if not said["group"]:
        pytest.skip(f"no group of processes with a limit of memory can be made here: {said['why']}")


@pytest.mark.long
def test_a_run_that_the_kernel_ends_for_memory_says_so(worker: WorkerStage, small_group: Path):
    run = worker.ask("grows", "grow", env={"GROUP": str(small_group)})
    crashed = worker.ends(run)
    assert crashed.is_crashed()
    assert "lack of memory. What the run had written" in (crashed.message or "")


@pytest.mark.long
def test_a_run_that_ends_while_the_server_is_away_is_told_when_it_is_back(worker: WorkerStage):
    server = Server(worker.where)
    run, _ = worker.begins("away")
    killed, killed_pid = worker.begins("away-killed")
    server.kill()
    worker.go(run)
    kill(killed_pid)
    until(lambda: not is_there(killed_pid))
    time.sleep(AWAY_SECONDS)
    server.start()
    assert worker.ends(run, BACK_SECONDS).is_completed()
    crashed = worker.ends(killed, BACK_SECONDS)
    assert crashed.is_crashed()
    assert "somebody killed it" in (crashed.message or "")
    assert worker.ends(worker.ask("after", "say"), BACK_SECONDS).is_completed()
