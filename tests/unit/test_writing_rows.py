"""Rows that grow over runs: the same key is the same row, the oldest go first, what is broken is begun anew."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from blocks.writing import rows_database
from blocks.writing.rows_database import Of, grown

COLUMNS = ("id", "label")


def kept(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT id, label FROM rows ORDER BY rowid").fetchall()


def test_new_rows_follow_the_earlier_ones_and_the_same_key_keeps_its_place(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    path.write_bytes(grown(path, COLUMNS, [("a", "1"), ("b", "2")]).database())
    path.write_bytes(grown(path, COLUMNS, [("c", None), ("a", 3)]).database())
    assert kept(path) == [("a", "3"), ("b", "2"), ("c", "")]


def test_the_same_rows_again_are_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    rows = [(str(n), "x" * 200) for n in range(200)]
    first = grown(path, COLUMNS, rows).database()
    path.write_bytes(first)
    assert grown(path, COLUMNS, rows).database() == first


def test_the_first_ones_written_go_first(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    path.write_bytes(grown(path, COLUMNS, [(str(n), "") for n in range(5)]).database())
    assert [row[0] for row in grown(path, COLUMNS, [("5", ""), ("6", "")], most=4).rows] == ["3", "4", "5", "6"]


@pytest.mark.parametrize("content", [b"rubbish" * 400, b"SQLite format 3\x00" + b"\xff" * 4000, b"\x00"])
def test_a_broken_file_is_begun_anew_and_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.sqlite"
    path.write_bytes(content)
    found = grown(path, COLUMNS, [("a", "1")])
    assert found.rows == (("a", "1"),)
    assert found.anew


def test_a_file_with_other_columns_or_of_another_size_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.sqlite"
    path.write_bytes(grown(path, ("id", "other"), [("a", "1")]).database())
    assert "columns" in grown(path, COLUMNS, []).anew
    monkeypatch.setattr(rows_database, "MOST_BYTES", 10)
    assert "larger" in grown(path, COLUMNS, []).anew


def test_no_earlier_file_is_nothing_to_speak_of(tmp_path: Path) -> None:
    assert grown(tmp_path / "none", COLUMNS, []).anew == ""


def test_values_are_values_and_no_sql(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    evil = "'); DROP TABLE rows; --"
    path.write_bytes(grown(path, COLUMNS, [(evil, "=1+1\u202e")]).database())
    assert kept(path) == [(evil, "=1+1\u202e")]


def test_rows_that_are_replaced_are_gone_unless_they_come_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    path.write_bytes(grown(path, COLUMNS, [("a1", "a"), ("a2", "a"), ("b1", "b")]).database())
    of = Of(column="label", replaced=frozenset({"a"}))
    assert grown(path, COLUMNS, [("a1", "a")], of=of).rows == (("a1", "a"), ("b1", "b"))


def test_rows_of_another_source_are_begun_anew_and_the_whole_day_says_so(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    for source, day, kept, anew in (
        ("samples", "1", ["samples 1"], ""),
        ("own", "2", ["own 2"], "they were of another source"),
        ("own", "2", ["own 2"], "they were of another source"),
        ("own", "3", ["own 2", "own 3"], ""),
    ):
        found = grown(path, COLUMNS, [(f"{source} {day}", "x")], of=Of(source, day))
        assert ([row[0] for row in found.rows], found.anew) == (kept, anew)
        path.write_bytes(found.database())


def test_rows_that_do_not_say_what_they_are_of_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE rows (id TEXT, label TEXT)")
        database.execute("INSERT INTO rows VALUES ('a', '1')")
    found = grown(path, COLUMNS, [("b", "2")], of=Of("own", "2026-11-25"))
    assert ([row[0] for row in found.rows], found.anew) == (["a", "b"], "")
