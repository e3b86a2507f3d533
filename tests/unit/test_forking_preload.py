"""What a fork server imports, and when it is out of date."""

import asyncio
import math
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.forking import wire
from deployments.forking.forks import Forks, _settings
from deployments.forking.link import ForkServerGone
from deployments.forking.preload import fingerprint, offences, preload
from governor.settings import Home

FLOW = "from prefect import flow\n\n\n@flow\ndef {name}():\n    pass\n"


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


def test_a_thread_and_a_socket_are_offences_and_the_link_is_none():
    ours, theirs = wire.pair()
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="busy")
    with ours, theirs:
        before = set(offences(ours.fileno()))
        assert not any(text.startswith(f"descriptor {ours.fileno()}:") for text in before)
        with socket.socket() as mine:
            thread.start()
            found = set(offences(ours.fileno())) - before
            over.set()
            thread.join()
            assert {text.partition(":")[0] for text in found} == {"thread busy", f"descriptor {mine.fileno()}"}
        assert set(offences(ours.fileno())) == before


class FakeLink:
    """FAKE: a fork server that comes up where its code is good."""

    def __init__(self, mark: str, *, good: bool, offences: list[str]) -> None:
        self.fingerprint, self.good, self.offences = mark, good, offences
        self.lost = self.retired = False
        self.children: dict[int, Any] = {}
        self.ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def wait_ready(self) -> None:
        await asyncio.sleep(0)
        if not self.good:
            self.lost = True
            raise ForkServerGone("It ended.", means="No run was begun.", remedy="Look.")
        if not self.ready.done():
            self.ready.set_result({"offences": self.offences})

    def retire(self) -> None:
        self.retired = True


class FakeForks(Forks):
    """FAKE: its servers are none, and it looks at the code each time."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.good, self.offences = True, list[str]()
        self.made: list[FakeLink] = []

    def _changed(self, link: Any) -> str | None:
        self._looked_at_s = -math.inf
        return super()._changed(link)

    def _start(self, mark: str) -> Any:
        self.made.append(FakeLink(mark, good=self.good, offences=self.offences))
        return self.made[-1]


def save(root: Path, text: str) -> None:
    (root / "flows" / "one.py").write_text(text)


def test_the_old_server_goes_on_where_the_new_one_does_not_come_up_until_code_changes_again(
    tmp_path: Path, hotdesk_home: Any
):
    async def act() -> None:
        forks = FakeForks(checkout(tmp_path / "root"))
        old = await forks.fresh()
        save(forks.root, "half = ")
        forks.good = False
        assert [await forks.fresh() for _ in range(3)] == [old] * 3
        assert (len(forks.made), forks.made[0].retired) == (2, False), "the same code is not tried again"
        save(forks.root, "whole = 'again'")
        forks.good = True
        new = await forks.fresh()
        assert (new is forks.made[2], forks.made[0].retired) == (True, True)

    asyncio.run(act())


def test_an_old_server_that_died_meanwhile_is_not_gone_on_with(tmp_path: Path, hotdesk_home: Any):
    async def act() -> None:
        forks = FakeForks(checkout(tmp_path / "root"))
        await forks.fresh()
        save(forks.root, "half = ")
        forks.good, forks.made[0].lost = False, True
        with pytest.raises(ForkServerGone):
            await forks.fresh()
        forks.good = True
        assert await forks.fresh() is forks.made[2]

    asyncio.run(act())


def test_a_new_server_that_nobody_waits_for_any_more_is_let_go(tmp_path: Path, hotdesk_home: Any):
    async def act() -> None:
        forks = FakeForks(checkout(tmp_path / "root"))
        await forks.fresh()
        save(forks.root, "other = 1")
        waiting = asyncio.create_task(forks.fresh())
        while len(forks.made) < 2:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert [one.retired for one in forks.made] == [False, True]

    asyncio.run(act())


def test_code_that_became_unsafe_is_looked_at_again(tmp_path: Path, hotdesk_home: Any):
    async def act() -> None:
        forks = FakeForks(checkout(tmp_path / "root"))
        seen = []
        for text, found in (("a = 1", []), ("thread = 1", ["thread busy"]), ("none = 1", [])):
            save(forks.root, text)
            forks.offences = found
            await forks.fresh()
            seen.append(forks.is_unsafe)
        assert seen == [False, True, False]

    asyncio.run(act())


def plain_http() -> Any:
    from prefect.settings import PREFECT_API_SSL_CERT_FILE, PREFECT_API_URL, temporary_settings

    return temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api", PREFECT_API_SSL_CERT_FILE: None})


def test_the_file_with_one_authority_is_written_once_and_whole(tmp_path: Path):
    with plain_http():
        file = Path(_settings(Home(tmp_path))["PREFECT_API_SSL_CERT_FILE"])
        first = file.stat().st_ino
        assert file.read_text().count("END CERTIFICATE") == 1
        assert _settings(Home(tmp_path))["PREFECT_API_SSL_CERT_FILE"] == str(file)
        assert file.stat().st_ino == first
        file.write_text("cut o")
        _settings(Home(tmp_path))
    assert file.read_text().count("END CERTIFICATE") == 1
    assert [*tmp_path.iterdir()] == [file]


@pytest.mark.parametrize("kind", ["missing", "a file"])
def test_without_a_state_folder_that_setting_is_left_out_and_none_is_made(tmp_path: Path, kind: str):
    folder = tmp_path / "home"
    if kind == "a file":
        folder.write_text("")
    with plain_http():
        assert "PREFECT_API_SSL_CERT_FILE" not in _settings(Home(folder))
    assert folder.is_dir() is False
