"""kill -9 while outputs are written: every file is the old one or the new one, and the next run finishes the work."""

import multiprocessing
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blocks.writing.outputs import Provenance, read_provenance, sha256, write_outputs
from governor.failpoints import install

DAY, DIES_SECONDS = "2026-11-25", 60.0
NAMES = (f"{DAY}.md", "rows.csv", "rows.sqlite")
POINTS = [(name, nth) for name in ("outputs.drafted", "outputs.written") for nth in range(1, 5)]


def contents(word: str) -> dict[str, bytes]:
    return {name: f"{word} {name} ".encode() * 10_000 for name in NAMES}


def write(folder: Path, word: str, *, run: str) -> None:
    said = Provenance(agent="a/b", run=run, written_at=datetime.now(UTC), inputs={"a": word})
    write_outputs(folder, DAY, contents(word), said)


def dies(folder: Path, name: str, nth: int) -> None:
    """Write anew and be killed when the point is reached for the nth time."""
    left = nth

    def hook(reached: str) -> None:
        nonlocal left
        left -= reached == name
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    install(hook)
    write(folder, "new", run="killed")
    os._exit(7)


@pytest.mark.parametrize(("name", "nth"), POINTS)
def test_whoever_dies_there_leaves_whole_files_and_the_next_run_goes_on(tmp_path: Path, name: str, nth: int):
    write(tmp_path, "old", run="first")
    child = multiprocessing.get_context("fork").Process(target=dies, args=(tmp_path, name, nth))
    child.start()
    child.join(DIES_SECONDS)
    # The provenance is drafted and never told as written: the fourth file has no fourth point of the other kind.
    assert child.exitcode == (7 if (name, nth) == ("outputs.written", 4) else -signal.SIGKILL)
    for file in NAMES:
        assert (tmp_path / file).read_bytes() in (contents("old")[file], contents("new")[file])
    write(tmp_path, "new", run="next")
    found = read_provenance(tmp_path, DAY)
    assert found is not None
    assert found.files == {file: sha256(data) for file, data in contents("new").items()}
    assert {file: (tmp_path / file).read_bytes() for file in NAMES} == contents("new")
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]
