"""What a fork server imports, and when it is out of date."""

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.forking import wire
from deployments.forking.preload import fingerprint, offences, preload

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
