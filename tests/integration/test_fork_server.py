"""Is it safe to fork? A real fork server, and children that look at what they were born with."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.forking.link import UNSEEN, Child
from governor.errors import NotReady
from tests.integration import fork_probe
from tests.integration.fork_stage import ROOT, Stage, Waiting, copy_of_probe, server_facts

OF_SERVER_ONLY = "HOTDESK_OF_THE_FORK_SERVER"
AT_ONCE = 8
BY_EVERY_OBJECT = ("locks", "loops", "clients", "databases", "generators", "sockets")
# The module litellm itself; and what a child fills on its way to the flow: the same in every state folder.
CACHES_OF_THE_SERVER = ["governor.inference._litellm"]
CACHES_OF_A_CHILD = [*CACHES_OF_THE_SERVER, "governor.processes.boot_id"]
pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="fork is for Linux")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One event loop, and a fork server whenever one is needed."""
    folder = tmp_path_factory.mktemp("forks")
    with pytest.MonkeyPatch.context() as patch:
        probe = copy_of_probe(folder)
        patch.setenv("HOTDESK_PRELOAD", str(probe))
        patch.setenv("HOTDESK_HOME", str(folder / "home-of-the-server"))
        patch.setenv(OF_SERVER_ONLY, "1")
        made = Stage(folder, probe)
        yield made
        made.close()


@pytest.fixture
def stage(server: Stage, tmp_path: Path) -> Stage:
    """The module's, with a folder of this test's own."""
    server.folder = tmp_path
    return server


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Waiting]:
    pipes = Waiting.make(tmp_path)
    yield pipes
    pipes.close()


async def crowd(stage: Stage, count: int) -> list[dict[str, Any]]:
    """What many children found, several at a time; one of thirty looks at every object."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> dict[str, Any]:
        async with places:
            return await stage.look(well=number % 30 == 0)

    return list(await asyncio.gather(*(one(number) for number in range(count))))


def born_well(found: dict[str, Any], server_pid: int, folder: Path) -> list[str]:
    """What is wrong with a child, in words."""
    env = found["env"]
    wanted: dict[str, Any] = {
        "parent": server_pid,
        "session": found["pid"],
        "threads": ["MainThread"],
        "tasks": 1,
        "running_loop": "None",
        "loop_set": False,
        "import_lock": False,
        "logging": [],
        "signals": {"SIGTERM": str(signal.SIG_DFL), "SIGINT": str(signal.SIG_DFL)},
        "alone_by": True,
        "memory_score": 300,
        "folder": str(folder),
        "caches": CACHES_OF_A_CHILD,
        "caches_of_server": CACHES_OF_THE_SERVER,
    }
    wanted |= {
        name: [] for name in ("locks", "loops", "clients", "databases", "generators", "sockets") if name in found
    }
    wrong = [f"{name}: {found[name]!r}, not {value!r}" for name, value in wanted.items() if found[name] != value]
    wrong += [f"descriptor {n}: {what}" for n, what in found["descriptors"].items() if int(n) > 2]
    wrong += [f"{name} of the server" for name in (OF_SERVER_ONLY, "HOTDESK_PRELOAD", "HOTDESK_HOME") if name in env]
    return wrong


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.long)])
@pytest.mark.timeout(600)
def test_no_child_has_what_was_its_parents_and_the_parent_does_not_grow(stage: Stage, tmp_path: Path, count: int):
    stage.run(stage.forks.fresh())
    pid = stage.forks.server_pid
    assert pid is not None
    before = server_facts(pid)
    found = stage.run(crowd(stage, count), 500)
    after = server_facts(pid)
    wrong = {text for one in found for text in born_well(one, pid, tmp_path)}
    assert not wrong
    for name in ("pid", "uuid", "random"):
        assert len({one[name] for one in found}) == count, f"{name}s that two children share"
    drawn = [one["numpy"] for one in found if one["numpy"]]
    assert len(set(drawn)) == len(drawn)
    assert (stage.forks.server_pid, after) == (pid, before)
    assert len(after["threads"]) == 1
    kinds = sorted(what.partition(":")[0] for number, what in after["descriptors"].items() if int(number) > 2)
    assert kinds == ["socket"], "the link to the worker, and nothing else"


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("exit:0", 0),
        ("exit:", 0),
        ("exit:1", 1),
        ("exit:7", 7),
        ("exit:a text", 1),
        ("fail", 1),
        ("die:9", -9),
        ("die:15", -15),
    ],
)
def test_how_a_child_ended_is_told(stage: Stage, action: str, status: int):
    assert stage.run(stage.status(action)) == status


def test_a_child_that_is_killed_is_told_and_its_neighbour_goes_on(stage: Stage, waiting: Waiting, tmp_path: Path):
    async def act() -> tuple[int, int]:
        victim = Waiting.make(tmp_path)
        children: list[Child] = []
        for pipes in (victim, waiting):
            children.append(await stage.fork("wait", env=pipes.env))
            await pipes.hears()
        children[0].signal(signal.SIGKILL)
        killed = await children[0].ended
        with pytest.raises(ProcessLookupError):
            children[0].signal(signal.SIGKILL)
        waiting.go(5)
        victim.close()
        return killed, await children[1].ended

    assert stage.run(act()) == (-9, 5)


def test_children_of_a_fork_server_that_was_killed_go_on_and_a_new_one_forks(stage: Stage, waiting: Waiting):
    async def act() -> list[Any]:
        child = await stage.fork("wait", env=waiting.env)
        said = [(await waiting.hears()).partition(" ")[0]]
        killed = stage.forks.server_pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        said.append((await waiting.hears()).partition(" ")[0])
        next_status = await stage.status("exit:7")
        assert stage.forks.server_pid not in (killed, None)
        assert child.returncode is None
        waiting.go(0)
        return [*said, next_status, await child.ended]

    assert stage.run(act()) == ["here", "alone", 7, UNSEEN]


def test_changed_code_makes_a_new_server_and_the_old_one_ends_after_its_last_child(stage: Stage, waiting: Waiting):
    async def act() -> None:
        child = await stage.fork("wait", env=waiting.env)
        await waiting.hears()
        old = await stage.forks.fresh()
        os.utime(stage.probe)
        deadline = time.monotonic() + 20
        while (new := await stage.forks.fresh()) is old and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        assert new is not old
        assert await stage.status("exit:7") == 7
        assert (child.returncode, old.process.poll()) == (None, None)
        waiting.go(4)
        assert await child.ended == 4, "the old server tells the end of its own"
        assert await asyncio.to_thread(old.process.wait, 10) == 0
        assert not select_readable(waiting.says), "nothing died: its run is not alone"

    stage.run(act())


def select_readable(descriptor: int) -> bool:
    """Whether something is there to be read."""
    try:
        return bool(os.read(descriptor, 1))
    except BlockingIOError:
        return False


def test_a_request_that_is_too_long_is_refused_and_the_server_stays(stage: Stage):
    async def act() -> None:
        before = (await stage.forks.fresh()).process.pid
        for size in (203 * 1024, 2**20):
            with pytest.raises(NotReady, match="too long"):
                await stage.fork("exit:0", env={"BIG": "x" * size})
        assert await stage.status("exit:7", env={"BIG": "x" * 100_000}) == 7
        assert stage.forks.server_pid == before

    stage.run(act())


def test_twenty_runs_with_large_environments_fork_at_once(stage: Stage):
    async def act() -> list[int]:
        await stage.forks.fresh()
        return await asyncio.gather(*(stage.status("exit:3", env={"BIG": "x" * 15_000}) for _ in range(20)))

    assert stage.run(act()) == [3] * 20


def test_a_folder_that_is_missing_fails_that_run_and_says_so(stage: Stage, tmp_path: Path):
    assert stage.run(stage.status("exit:0", folder=str(tmp_path / "missing"))) == 1
    request = stage.request("exit:0", folder=str(tmp_path / "missing"))
    one_fork = """
import json, os, sys
from deployments.forking import wire
from deployments.forking.server import ForkServer
link, other = wire.pair()
server = ForkServer(link, {})
server._reap(server._fork(json.loads(sys.argv[1])))
print(wire.receive(other)[0]["pid"] == wire.receive(other)[0]["ended"])
"""
    argv = [sys.executable, "-c", one_fork, json.dumps(request)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert "FileNotFoundError" in done.stderr, "said where the run's other words go"


def test_a_child_of_another_state_folder_has_nothing_of_its_parents(stage: Stage, tmp_path: Path):
    found = stage.run(stage.look(env={"HOTDESK_HOME": str(tmp_path / "other")}))
    assert found["home"] == str(tmp_path / "other")
    assert (found["caches_of_server"], found["caches"]) == (CACHES_OF_THE_SERVER, CACHES_OF_A_CHILD)


def test_the_probe_sees_what_it_looks_for(stage: Stage, tmp_path: Path):
    """Else all of the above means nothing: a child that makes one of each for itself."""
    says = tmp_path / "spoilt.json"
    assert stage.run(stage.status("spoil", env={fork_probe.SAYS: str(says)})) == 0
    found = json.loads(says.read_text())
    assert found["logging"] == ["logging"]
    assert (found["loop_set"], found["import_lock"]) == (True, True)
    assert found["threads"] == ["MainThread", "other"]
    assert "governor.profile.current_profile" in found["caches"]
    for name in BY_EVERY_OBJECT:
        assert found[name], name
    wrong = " ".join(born_well(found, 1, tmp_path / "other"))
    for name in ("parent", "threads", "tasks", "loop_set", "logging", "memory_score", "folder", "caches", "descriptor"):
        assert f"{name}" in wrong


def test_children_whose_worker_went_away_are_told_and_go_on(stage: Stage, waiting: Waiting, tmp_path: Path):
    async def act() -> list[Any]:
        child = await stage.fork("wait", env=waiting.env)
        said = [(await waiting.hears()).partition(" ")[0]]
        link = await stage.forks.fresh()
        link.socket.shutdown(2)  # as the kernel does for a worker that dies
        said.append((await waiting.hears()).partition(" ")[0])
        await asyncio.to_thread(link.process.wait, 10)
        assert child.returncode is None
        waiting.go(0)
        return [*said, link.process.returncode, await child.ended]

    assert stage.run(act()) == ["here", "alone", 0, UNSEEN]
