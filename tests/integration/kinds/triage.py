"""triage: ids in are ids out, every label is one of the agent's, and page, rows and database say the same."""

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path

from blocks.writing.csv_files import plain
from blocks.writing.markdown import cell, escaped
from deployments.fleet import read_fleet
from flows.triage import COLUMNS, UNLABELLED, TriageParameters


def check(folder: Path, day: str) -> None:
    """Of the outputs of that day in the folder of an agent."""
    inputs = json.loads((folder / f"{day}.provenance.json").read_bytes())["inputs"]
    page = (folder / f"{day}.md").read_text()
    with (folder / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with closing(sqlite3.connect(folder / "rows.sqlite")) as database:
        stored = database.execute("SELECT * FROM rows ORDER BY rowid DESC").fetchall()
    assert inputs, "a triage run reads at least one message"
    assert list(rows[0]) == COLUMNS
    assert [tuple(row.values()) for row in rows] == [tuple(plain(value) for value in row) for row in stored]
    by_id = {row[0]: row for row in stored}
    assert set(inputs) <= set(by_id), "an id that was read has no row"
    assert {row["label"] for row in rows} <= {*_labels(folder), UNLABELLED}
    lines = page.partition("## Messages")[2].splitlines()
    shown = [line for line in lines if line.startswith("| ")][2:]
    assert len(shown) == len(inputs), "the page has one line for each message"
    for message_id, line in zip(inputs, shown, strict=True):
        assert line.startswith(f"| {cell(escaped(message_id))} |")
        assert f"| {by_id[message_id][1]} | {by_id[message_id][2]} |" in line


def _labels(folder: Path) -> set[str]:
    """Of the agents of this kind whose folder that is: `triage-inbox` is the one named inbox."""
    name = folder.name.removeprefix("triage-")
    [entry] = [e for e in read_fleet() if e.entrypoint == "flows/triage.py:triage" and e.name == name]
    return set(TriageParameters.model_validate(entry.parameters["parameters"]).labels)
