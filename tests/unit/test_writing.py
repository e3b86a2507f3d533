"""Outputs: whole files only, tables that hold, cells that never run, and a byline that names the demo model as one."""

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from blocks.writing.csv_files import csv_text, plain
from blocks.writing.markdown import byline, cell, table
from blocks.writing.outputs import (
    Provenance,
    page_text,
    read_provenance,
    sha256,
    slug,
    write_outputs,
    write_whole,
)
from governor.answers import Answer

DAY = "2026-11-24"
NOW = datetime(2026, 11, 24, 7, 0, tzinfo=UTC)
DEMO = Answer("text", "text", True, [], tier="tiny", model="SmolLM2-135M", demo=True, reason="")


def test_the_byline_says_model_demo_model_or_rules() -> None:
    assert byline(DEMO) == "demo model, 135M"
    assert byline(replace(DEMO, demo=False, model="qwen3:8b")) == "qwen3:8b"
    assert byline(replace(DEMO, verified=False)) == "by rules only"


@pytest.mark.parametrize("value", ["a|b", "a\nb", "<img src=x>"])
def test_a_cell_keeps_its_row_whole(value: str) -> None:
    rows = table(["one", "two"], [[value, "x"]]).splitlines()
    assert len(rows) == 3
    assert "<img" not in rows[2]
    assert rows[2].replace("\\|", "").count("|") == 3
    assert "\n" not in cell(value)


def test_a_slug_fits_an_artifact_key() -> None:
    assert slug("log-watch/App 1") == "log-watch-app-1"


def test_a_capped_page_says_so() -> None:
    assert "capped" in page_text("News", "body", capped=True)
    assert page_text("News", "body", capped=False) == "# News\n\nbody\n"


def written(folder: Path, **changes: Any) -> Provenance:
    said = {"agent": "digest/news", "run": "one", "written_at": NOW, "inputs": {"a": "1"}} | changes
    write_outputs(folder, DAY, {f"{DAY}.md": b"page", "rows.csv": b"a,b\n"}, Provenance(**said))
    found = read_provenance(folder, DAY)
    assert found is not None
    return found


def test_outputs_stand_whole_with_where_they_came_from(tmp_path: Path) -> None:
    found = written(tmp_path)
    assert found.files == {f"{DAY}.md": sha256(b"page"), "rows.csv": sha256(b"a,b\n")}
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{DAY}.md", f"{DAY}.provenance.json", "rows.csv"]


def test_a_run_that_changes_nothing_touches_no_file_and_says_so(tmp_path: Path) -> None:
    written(tmp_path)
    times = {p.name: p.stat().st_ino for p in tmp_path.iterdir() if p.suffix != ".json"}
    found = written(tmp_path, run="two", written_at=NOW + timedelta(hours=1))
    assert times == {p.name: p.stat().st_ino for p in tmp_path.iterdir() if p.suffix != ".json"}
    assert (found.run, found.confirmed_by, found.written_at) == ("one", "two", NOW)


def test_other_inputs_are_another_writing(tmp_path: Path) -> None:
    written(tmp_path)
    assert written(tmp_path, run="two", inputs={"a": "2"}).run == "two"


def test_a_file_that_somebody_changed_is_written_again(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "rows.csv").write_bytes(b"spoiled")
    written(tmp_path)
    assert (tmp_path / "rows.csv").read_bytes() == b"a,b\n"


@pytest.mark.parametrize("rubbish", [b"", b"{", b"[]", b"\xff\xfe", b'{"agent": 1}'])
def test_a_provenance_that_cannot_be_read_is_none(tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / f"{DAY}.provenance.json").write_bytes(rubbish)
    assert read_provenance(tmp_path, DAY) is None
    assert written(tmp_path).run == "one"


def test_a_full_disk_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "a.md", b"old")
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            write_whole(tmp_path / "a.md", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.md"]
    assert (tmp_path / "a.md").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+SUM(A1)", "'+SUM(A1)"),
        ("-cmd|' /C calc'!A0", "'-cmd|' /C calc'!A0"),
        ("@x", "'@x"),
        ("\t=1", "'\t=1"),
        ("-12.50", "-12.50"),
        ("+3 %", "+3 %"),
        (None, ""),
        (5, "5"),
    ],
)
def test_a_cell_is_never_a_formula(value: object, shown: str) -> None:
    assert plain(value) == shown
    assert next(csv.reader(io.StringIO(csv_text(["a"], [[value]]).split("\n", 1)[1])))[:1] in ([shown], [])
