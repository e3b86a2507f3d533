"""The worker on a real server: runs begin by event, end as Prefect says, and are cancelled one at a time."""

import logging
import socket
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Suspended

from deployments.bootstrap_names import BY_SCHEDULE_TAG
from governor.settings import Home, prepare_home
from tests.conftest import at_home, talking_to
from tests.integration.worker_stage import STARTS_SECONDS, WorkerStage, is_there, kill, until, worker_stage

PLACES = 2
# Fork to first line is 0.4 s on an idle machine; a poll comes after 60.
SOON_SECONDS = 10.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start_server: Callable[[Home], None]) -> Iterator[Home]:
    """Without the fleet: its schedules would make runs of their own."""
    from deployments.environment import SERVER
    from deployments.services import stop_service

    where = Home(tmp_path_factory.mktemp("worker") / "home")
    with at_home(where):
        prepare_home()
        start_server(where)
    yield where
    assert stop_service(where, SERVER)


@pytest.fixture(scope="module")
def stage(server: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerStage]:
    flows = tmp_path_factory.mktemp("flows")
    with (
        at_home(server),
        talking_to(server),
        get_client(sync_client=True) as client,
        worker_stage(server, client, flows, PLACES) as made,
    ):
        made.start_worker()
        made.ends(made.ask("first", "say"), STARTS_SECONDS)  # it hears of events by then
        yield made


@pytest.mark.parametrize("file", ["acts", "warm"])
def test_a_run_that_somebody_asks_for_begins_by_event_and_completes(stage: WorkerStage, file: str):
    asked_at = time.time()
    run = stage.ask(f"asked-{file}", "say", file=file)
    said = stage.said(run, SOON_SECONDS)
    assert said["at"] - asked_at < SOON_SECONDS
    assert stage.ends(run).is_completed()
    assert said["preloaded"] is (file == "warm")
    named = stage.client.read_flow_run(run.id).infrastructure_pid
    assert named is not None and named.startswith(f"{socket.gethostname()}:{said['pid']}")
    assert said["pid"] != stage.worker_pid
    until(lambda: "first line of say" in stage.messages(run), SOON_SECONDS, lambda: str(stage.messages(run)))


@pytest.mark.parametrize(
    ("what", "state", "says"),
    [
        ("raise", "Failed", "on purpose"),
        ("exit", "Crashed", ""),
        ("exit hard", "Crashed", "status code: 3"),
    ],
)
def test_a_run_that_goes_wrong_ends_as_it_does_under_prefects_worker(
    stage: WorkerStage, what: str, state: str, says: str
):
    ended = stage.ends(stage.ask("wrong", what))
    assert ended.name == state
    assert says in (ended.message or "")


def test_a_run_that_somebody_kills_is_crashed_and_says_that_it_was_not_memory(stage: WorkerStage):
    run, pid = stage.begins("killed")
    kill(pid)
    ended = stage.ends(run)
    assert ended.is_crashed()
    assert "somebody killed it" in (ended.message or "")


@pytest.mark.parametrize("file", [pytest.param("acts", marks=pytest.mark.long), "warm"])
def test_a_cancel_ends_that_run_alone_and_its_hooks_run_once(stage: WorkerStage, file: str):
    other, other_pid = stage.begins(f"goes-on-{file}", file=file)
    run, pid = stage.begins(f"cancelled-{file}", file=file)
    stage.cancel(run)
    ended = stage.ends(run)
    until(lambda: not is_there(pid))
    assert ended.is_cancelled(), ended
    assert is_there(other_pid)
    stage.go(other)
    assert stage.ends(other).is_completed()
    hooks = stage.folder / f"{run.id}.hooks"
    until(hooks.exists)
    assert hooks.read_text() == "hook\n"


def test_a_run_that_is_suspended_stops_at_its_next_step(stage: WorkerStage):
    run, pid = stage.begins("suspended", "step")
    stage.client.set_flow_run_state(run.id, Suspended(timeout_seconds=60))
    until(lambda: not is_there(pid))
    assert stage.state(run).name == "Suspended"


def test_what_a_deployment_sets_reaches_its_runs(stage: WorkerStage):
    env = {"SAID_BY": "the deployment", "PREFECT_LOGGING_LEVEL": "DEBUG"}
    said = stage.said(stage.ask("set", "say", pulled=False, env=env, working_dir=str(stage.folder)))
    assert said["env"]["SAID_BY"] == "the deployment"
    assert said["level"] == logging.DEBUG
    assert "retryable status code" not in stage.log(), "each refusal of a token costs a run 2 s"
    assert said["cwd"] == str(stage.folder)


def test_a_command_of_a_deployment_is_a_process_of_its_own(stage: WorkerStage):
    run, pid = stage.begins("command", command=f"{sys.executable} -m prefect.engine")
    assert psutil.Process(pid).ppid() == stage.worker_pid or "prefect.engine" in psutil.Process(pid).cmdline()
    stage.go(run)
    assert stage.ends(run).is_completed()


@pytest.mark.long
def test_an_edited_flow_runs_in_its_new_form(stage: WorkerStage):
    file = stage.folder / "warm.py"
    before = file.read_text()
    file.write_text(before.replace("first form", "second form"))
    try:
        said = stage.said(stage.ask("edited", "say", file="warm"))
        assert said["form"] == "second form"
        assert said["preloaded"]
    finally:
        file.write_text(before)


def test_who_finds_no_place_stays_scheduled_and_starts_as_soon_as_one_is_free(stage: WorkerStage):
    first, second = stage.begins("place-1")[0], stage.begins("place-2")[0]
    third = stage.ask("place-3", "say")
    until(lambda: "1 waits: 2 of 2 run" in stage.log())
    assert stage.state(third).type == StateType.SCHEDULED
    stage.go(first)
    freed_at = time.time()
    stage.ends(first)
    assert stage.said(third)["at"] - freed_at < SOON_SECONDS
    assert stage.ends(third).is_completed()
    stage.go(second)
    assert stage.ends(second).is_completed()


@pytest.mark.long
def test_a_cancelled_run_that_waits_for_a_place_never_begins(stage: WorkerStage):
    holders = [stage.begins(f"place-{number}")[0] for number in (1, 2)]
    late = stage.ask("place-3", "say")
    stage.cancel(late)
    assert stage.ends(late).is_cancelled()
    for run in holders:
        stage.go(run)
        assert stage.ends(run).is_completed()
    assert stage.ends(stage.ask("place-3", "say")).is_completed()
    assert not (stage.folder / f"{late.id}.json").exists()


def test_of_late_twins_by_schedule_the_latest_runs_and_the_older_is_cancelled_in_our_words(stage: WorkerStage):
    holders = [stage.begins(f"place-{number}")[0] for number in (1, 2)]
    older, latest = (stage.ask("twin", "say", alone=True, tags=[BY_SCHEDULE_TAG]) for _ in range(2))
    for run in holders:
        stage.go(run)
    assert stage.ends(latest).is_completed()
    dropped = stage.ends(older)
    assert dropped.is_cancelled()
    assert (dropped.message or "").startswith("hotdesk: a later run of this agent")
