"""Worker and fork server: what they say, when a server is out of date, what a worker knows before its runs do."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from pydantic import BaseModel

from deployments.forking import known, wire
from deployments.forking.child import _settings_of
from deployments.forking.deaths import BY_SOMEBODY, FOR_MEMORY, Deaths
from deployments.forking.known import SPARE, STORAGE_FOR, Known
from deployments.forking.link import ForkServerGone, Link
from deployments.forking.preload import fingerprint, offences, preload
from governor.errors import NotReady

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
FLOW = "from prefect import flow\n\n\n@flow\ndef {name}():\n    pass\n"


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = wire.pair()
    with ours, theirs:
        yield ours, theirs


def test_each_message_comes_whole_and_alone(ends):
    messages: list[dict[str, Any]] = [{"run": "é" * size} for size in (0, 1, 3000)]
    for message in messages:
        wire.send(ends[0], message)
    assert [wire.receive(ends[1]) for _ in messages] == [(message, []) for message in messages]


def test_a_descriptor_comes_with_its_message_and_is_the_same_file(ends):
    reading, writing = os.pipe()
    wire.send(ends[0], {"pid": 7}, [writing])
    os.close(writing)
    received = wire.receive(ends[1])
    assert received is not None
    message, (copy,) = received
    os.write(copy, b"here")
    assert (message, os.read(reading, 4)) == ({"pid": 7}, b"here")
    for descriptor in (reading, copy):
        os.close(descriptor)


def test_an_end_that_is_gone_is_none_after_all_that_it_said(ends):
    wire.send(ends[0], {"last": 1})
    ends[0].close()
    assert [wire.receive(ends[1]), wire.receive(ends[1])] == [({"last": 1}, []), None]
    with pytest.raises(BrokenPipeError):
        wire.send(ends[1], {})


def test_nothing_to_read_yet_is_no_end(ends):
    ends[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        wire.receive(ends[1])


@pytest.mark.parametrize("rubbish", [b"GET / HTTP/1.1", b'{"run": "cut o', b"\xff\xfe"])
def test_rubbish_is_somebody_elses_end_and_its_descriptors_are_let_go(ends, rubbish: bytes):
    reading, writing = os.pipe()
    socket.send_fds(ends[0], [rubbish], [writing])
    os.close(writing)
    assert wire.receive(ends[1]) is None
    assert os.read(reading, 1) == b"", "the last writer is closed"
    os.close(reading)


@pytest.mark.parametrize("over", [1, 9 * 1024, 1024 * 1024])
def test_what_the_other_end_could_not_read_is_not_sent(ends, over: int):
    frame = len(json.dumps({"run": ""}))
    wire.send(ends[0], {"run": "x" * (wire.MOST_BYTES - frame)})
    assert wire.receive(ends[1]) is not None
    with pytest.raises(OSError, match="go through"):
        wire.send(ends[0], {"run": "x" * (wire.MOST_BYTES - frame + over)})


class FakeProcess:
    """A FAKE of the process of a fork server."""

    pid = 0

    def poll(self) -> None: ...

    def kill(self) -> None: ...


def linked(act: Callable[[Link, socket.socket], Any]) -> Any:
    """A link whose other end, a FAKE fork server, is the test's."""

    async def go() -> Any:
        ours, theirs = wire.pair()
        ours.setblocking(False)
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        link = Link(cast(Any, FakeProcess()), ours, "", loop.create_future())
        loop.add_reader(ours, link._read)
        with theirs:
            try:
                return await asyncio.wait_for(act(link, theirs), 10)
            finally:
                if not link.lost:
                    loop.remove_reader(ours)
                    ours.close()

    return asyncio.run(go())


async def asked(theirs: socket.socket) -> dict[str, Any]:
    """The next request, as the fork server would read it."""
    while True:
        try:
            received = wire.receive(theirs)
        except BlockingIOError:
            await asyncio.sleep(0.001)
        else:
            assert received is not None
            return received[0]


def test_what_the_kernel_refuses_is_said_with_what_to_do():
    async def act(link: Link, theirs: socket.socket):
        forking = asyncio.create_task(link.fork({"run": "1"}))
        wire.send(theirs, {"run": (await asked(theirs))["run"], "refused": "Cannot allocate memory"})
        with pytest.raises(NotReady, match=r"Cannot allocate memory.*free memory") as caught:
            await forking
        assert not isinstance(caught.value, ForkServerGone), "another server would be refused as well"
        assert (link.asked, link.lost) == ({}, False)

    linked(act)


def test_an_environment_that_is_too_long_is_refused_and_the_link_goes_on():
    async def act(link: Link, theirs: socket.socket):
        with pytest.raises(NotReady, match=r"too long.*job variables"):
            await link.fork({"run": "1", "env": {"BIG": "x" * 2**20}})
        assert (link.asked, link.lost) == ({}, False)

    linked(act)


def test_more_requests_at_once_than_the_socket_holds_wait_for_room():
    count = 40  # of 15 KB; 13 fit

    async def act(link: Link, theirs: socket.socket):
        forks = [asyncio.create_task(link.fork({"run": str(n), "env": "x" * 15_000})) for n in range(count)]
        await asyncio.sleep(0)  # all of them try once, and nobody reads
        seen: set[str] = set()
        while len(seen) < count:
            run = (await asked(theirs))["run"]
            seen.add(run)
            wire.send(theirs, {"run": run, "refused": "heard"})
        results = await asyncio.gather(*forks, return_exceptions=True)
        assert ["heard" in str(result) for result in results] == [True] * count

    linked(act)


def test_who_waits_for_room_hears_that_the_server_ended():
    async def act(link: Link, theirs: socket.socket):
        forks = [asyncio.create_task(link.fork({"run": str(n), "env": "x" * 15_000})) for n in range(40)]
        await asyncio.sleep(0)
        theirs.close()
        results = await asyncio.gather(*forks, return_exceptions=True)
        assert {type(result) for result in results} == {ForkServerGone}

    linked(act)


def test_a_child_that_nobody_asked_for_any_more_is_killed(sleeper: int):
    async def act(link: Link, theirs: socket.socket):
        forking = asyncio.create_task(link.fork({"run": "1"}))
        await asked(theirs)
        forking.cancel()
        await asyncio.gather(forking, return_exceptions=True)
        pidfd = os.pidfd_open(sleeper)
        wire.send(theirs, {"run": "1", "pid": sleeper}, [pidfd])
        os.close(pidfd)
        _, status = await asyncio.to_thread(os.waitpid, sleeper, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL

    linked(act)


@pytest.fixture
def sleeper() -> Iterator[int]:
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "import signal; signal.pause()"], os.environ)
    yield pid
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def checkout(root: Path) -> Path:
    """A checkout with one file of each kind that counts, and some that do not."""
    for name in (
        "flows/one.py",
        "blocks/agent.py",
        "governor/policy/facts.py",
        "governor/profiles.yaml",
        "deployments/forking/child.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("a = 1\n")
    for name in ("deployments/samples/inbox/a.py", "governor/__pycache__/b.py", "governor/notes.md", "tests/c.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("a = 1\n")
    return root


COUNTS = {
    "flows/one.py": True,
    "governor/policy/facts.py": True,
    "governor/profiles.yaml": True,
    "deployments/forking/child.py": True,
    "deployments/samples/inbox/a.py": False,
    "governor/__pycache__/b.py": False,
    "governor/notes.md": False,
    "tests/c.py": False,
}


@pytest.mark.parametrize(("name", "counts"), COUNTS.items())
def test_a_server_is_out_of_date_as_soon_as_a_file_of_ours_changed(tmp_path: Path, name: str, counts: bool):
    before = fingerprint(checkout(tmp_path))
    assert fingerprint(tmp_path) == before, "nothing changed"
    stat = (tmp_path / name).stat()
    os.utime(tmp_path / name, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert (fingerprint(tmp_path) != before) is counts


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "flows/two.py").write_text(""),
        lambda root: (root / "blocks/agent.py").unlink(),
        lambda root: (root / "flows/one.py").rename(root / "flows/uno.py"),
    ],
)
def test_a_file_that_comes_or_goes_is_a_change(tmp_path: Path, change: Callable[[Path], Any]):
    before = fingerprint(checkout(tmp_path))
    change(tmp_path)
    assert fingerprint(tmp_path) != before


def test_files_that_the_variable_names_count_too_and_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checkout(tmp_path / "root")
    own = [tmp_path / "mine.py", tmp_path / "other.py"]
    monkeypatch.setenv("HOTDESK_PRELOAD", os.pathsep.join(map(str, own)))
    seen = [fingerprint(tmp_path / "root")]
    for file in own:
        file.write_text("a = 1\n")
        seen.append(fingerprint(tmp_path / "root"))
    own[0].unlink()
    seen.append(fingerprint(tmp_path / "root"))
    assert len(set(seen)) == 4


@pytest.fixture
def as_before() -> Iterator[None]:
    """What a preload does to this process is undone."""
    import gc

    modules, path = set(sys.modules), [*sys.path]
    yield
    gc.unfreeze()
    gc.freeze()  # as the session has it
    sys.path[:] = path
    for name in [name for name in sys.modules if name not in modules and name.startswith("preloaded_")]:
        del sys.modules[name]


def test_a_flow_file_that_is_broken_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, as_before: None
):
    own = tmp_path / "preloaded_own.py"
    own.write_text(FLOW.format(name="own"))
    flows = tmp_path / "root" / "flows"
    flows.mkdir(parents=True)
    (flows / "preloaded_broken.py").write_text("import nothing_of_this_name\n")
    (flows / "preloaded_half.py").write_text("def (:\n")
    (flows / "preloaded_good.py").write_text(FLOW.format(name="good") + "\nfrom blocks.agent import NEVER\n")
    (flows / "preloaded_good.py").write_text(FLOW.format(name="good") + "\nagain = good\n")
    (flows / "preloaded_borrowed.py").write_text("import sys\nfrom preloaded_good import good\n")
    monkeypatch.setenv("HOTDESK_PRELOAD", str(own))
    found = preload(tmp_path / "root")
    assert {(Path(file).name, name) for file, name in found} == {
        ("preloaded_good.py", "good"),
        ("preloaded_good.py", "again"),
        ("preloaded_own.py", "own"),
    }, "each flow belongs to the file that defines it"
    named = [record.getMessage() for record in caplog.records if "is not preloaded" in record.getMessage()]
    assert ["preloaded_broken.py" in text for text in named] == [True, False]
    assert "ModuleNotFoundError" in named[0]
    assert "SyntaxError" in named[1]


def test_a_run_finds_modules_where_prefect_would_look_first(tmp_path: Path, monkeypatch, as_before: None):
    root = tmp_path / "root"
    (root / "flows").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", ["", str(root), "/elsewhere", *sys.path])
    rest = [entry for entry in sys.path if entry not in ("", str(root))]
    preload(root)
    assert sys.path == [str(root / "flows"), str(root), *rest]


def test_a_thread_and_a_socket_are_offences_and_the_link_is_none(ends):
    before = set(offences(ends[0].fileno()))
    with closing(socket.socket()) as mine:
        assert [f"descriptor {mine.fileno()}:" in text for text in set(offences(ends[0].fileno())) - before] == [True]
        assert not any(f"descriptor {ends[0].fileno()}:" in text for text in offences(ends[0].fileno()))


@pytest.mark.parametrize(
    ("status", "before", "after", "said"),
    [
        (-signal.SIGKILL, 3, 4, FOR_MEMORY),
        (-signal.SIGKILL, 3, 3, BY_SOMEBODY),
        (-signal.SIGTERM, 3, 4, ""),
        (1, 3, 4, ""),
        (0, 3, 4, ""),
        (-signal.SIGKILL, None, 4, ""),
        (-signal.SIGKILL, 3, None, ""),
    ],
)
def test_a_death_is_put_down_to_memory_only_where_the_kernel_says_so(
    tmp_path: Path, status: int, before: int | None, after: int | None, said: str
):
    deaths, run = Deaths(tmp_path / "vmstat"), uuid4()

    def counted(count: int | None) -> None:
        lines = "nr_free_pages 12\noom_kill_disabled 9\n" + ("" if count is None else f"oom_kill {count}\n")
        deaths.vmstat.write_text(lines)

    counted(before)
    at_start = deaths.look()
    counted(after)
    deaths.note(run, status, at_start)
    assert (at_start, deaths.causes.get(run, "")) == (before, said)


def test_a_kernel_that_counts_nothing_is_no_cause(tmp_path: Path):
    deaths = Deaths(tmp_path / "missing")
    assert deaths.look() is None
    deaths.note(uuid4(), -signal.SIGKILL, deaths.look())
    assert deaths.causes == {}


def test_settings_are_told_from_the_facts_of_one_run():
    env = {"PREFECT_API_URL": "u", "PREFECT__FLOW_RUN_ID": "1", "PREFECT__CONTROL_TOKEN": "t", "PATH": "/bin"}
    assert _settings_of(env) == {"PREFECT_API_URL": "u"}


class FakeClient:
    """A FAKE of a worker's client: tokens that are numbered, storage that may change, reads that are counted."""

    api_url = "http://127.0.0.1:4200/api"

    def __init__(self, *, protected: bool = True) -> None:
        self.protected = protected
        self.tokens = self.storages = 0
        self.ends_at = NOW + timedelta(hours=1)
        self._client = self
        self.csrf_client_id = UUID(int=7)
        self.csrf_token: str | None = None
        self.csrf_token_expiration: datetime | None = None
        self.read: list[UUID] = []

    async def get(self, address: str) -> Any:
        assert address == f"/csrf-token?client={self.csrf_client_id}"
        await asyncio.sleep(0)
        if not self.protected:
            raise RuntimeError("422: CSRF protection is disabled")
        self.tokens += 1
        found = {"token": f"t{self.tokens}", "expiration": self.ends_at.isoformat().replace("+00:00", "Z")}
        return SimpleNamespace(json=lambda: found)

    async def read_server_default_result_storage(self) -> Any:
        self.storages += 1
        return SimpleNamespace(default_result_storage_block_id=None)

    async def read_deployment(self, which: UUID) -> "Read":
        self.read.append(which)
        return Read(which=which)

    read_flow = read_deployment


class Read(BaseModel):
    which: UUID
    job_variables: dict[str, str] = {}


def facts(of: Known, client: FakeClient, now: datetime, count: int = 1) -> list[dict[str, Any]]:
    async def ask() -> list[dict[str, Any]]:
        return await asyncio.gather(*(of.facts(cast(PrefectClient, client), now=now) for _ in range(count)))

    return asyncio.run(ask())


def test_eight_runs_at_once_share_one_token_and_the_workers_client_has_it_too():
    client = FakeClient()
    told = facts(Known(), client, NOW, 8)
    token = {"client": str(client.csrf_client_id), "value": "t1", "ends": client.ends_at.isoformat()}
    assert told == [{"url": client.api_url, "token": token, "storage": ""}] * 8
    assert (client.tokens, client.storages) == (1, 1)
    assert (client.csrf_token, client.csrf_token_expiration) == ("t1", client.ends_at)


def test_a_token_is_asked_for_again_before_it_ends_and_storage_every_minute():
    async def ask() -> list[tuple[str, int]]:
        client, of, seen = FakeClient(), Known(), []
        last = client.ends_at - SPARE
        for now in (NOW, last - timedelta(seconds=1), last, last + timedelta(seconds=1), last + 2 * STORAGE_FOR):
            if now == last:
                client.ends_at += timedelta(hours=1)
            told = await of.facts(cast(PrefectClient, client), now=now)
            seen.append((told["token"]["value"], client.storages))
        return seen

    assert asyncio.run(ask()) == [("t1", 1), ("t1", 2), ("t2", 2), ("t2", 2), ("t2", 3)]


def test_a_server_without_protection_gives_no_token_and_is_asked_seldom():
    client, of = FakeClient(protected=False), Known()
    assert facts(of, client, NOW)[0]["token"] == {}
    assert (client.csrf_token, client.tokens) == (None, 0)


def test_what_was_read_just_now_is_not_read_twice_and_nobody_changes_anothers():
    async def read() -> tuple[int, list[dict[str, str]], int, int]:
        client, one, other = FakeClient(), uuid4(), uuid4()
        known.read_once(cast(PrefectClient, client))
        first = await client.read_deployment(one)
        first.job_variables["image"] = "changed"
        again = [await client.read_deployment(one) for _ in range(3)]
        once = len(client.read)
        await client.read_deployment(other)
        two = len(client.read)
        await client.read_flow(one)
        return once, [each.job_variables for each in again], two, len(client.read)

    assert asyncio.run(read()) == (1, [{}, {}, {}], 2, 3)


def test_what_was_read_a_while_ago_is_read_again():
    async def read(seconds: float) -> int:
        client, one = FakeClient(), uuid4()
        reading = known._once(client.read_deployment, seconds)
        for _ in range(3):
            await reading(one)
        return len(client.read)

    assert [asyncio.run(read(seconds)) for seconds in (60.0, -1.0)] == [1, 3]


def test_an_answer_that_failed_is_not_kept():
    async def read() -> tuple[int, int]:
        calls = 0

        async def failing(_which: UUID) -> Any:
            nonlocal calls
            calls += 1
            raise ConnectionError("away")

        reading, one, caught = known._once(failing, 60.0), uuid4(), 0
        for _ in range(2):
            try:
                await reading(one)
            except ConnectionError:
                caught += 1
        return calls, caught

    assert asyncio.run(read()) == (2, 2)
