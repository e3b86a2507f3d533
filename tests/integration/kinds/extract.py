"""What extract promises: every row's values stand in its document, dates and amounts are in one notation, sums hold."""

import csv
import json
import re
import sqlite3
from datetime import date
from decimal import Decimal
from pathlib import Path

from blocks.checking.amounts import sums_up
from blocks.reading.documents import read_folder
from deployments.fleet import read_fleet

DATES = {"date", "begin", "end"}


def check(folder: Path, day: str) -> None:
    """The page, `rows.csv`, `rows.json` and `rows.sqlite` agree with each other and with the documents."""
    page, rows = (folder / f"{day}.md").read_text(), json.loads((folder / "rows.json").read_text())
    [source] = {
        entry.parameters["parameters"]["source"]
        for entry in read_fleet()
        if folder.name == f"{Path(entry.flow_file).stem.replace('_', '-')}-{entry.name}"
    }
    texts = {item.id: " ".join(item.text.split()) for item in read_folder(source, max_items=1000).items}
    lines = {item.id: item.text for item in read_folder(source, max_items=1000).items}
    assert rows
    for row in rows:
        _row(row, texts[row["document"]], lines[row["document"]])
        assert row["document"] in page.replace("\\", "")
    with (folder / "rows.csv").open(newline="") as file:
        assert [told["key"] for told in csv.DictReader(file)] == [row["key"] for row in rows]
    with sqlite3.connect(folder / "rows.sqlite") as database:
        assert {row["key"] for row in rows} <= {key for (key,) in database.execute("SELECT key FROM rows")}


def _row(row: dict[str, str], text: str, lines: str) -> None:
    for name in ("vendor", "number", "who", "what", "party", "notice", "renewal"):
        assert row.get(name, "") in text, (name, row)
    for name in DATES & set(row):
        if row[name]:
            date.fromisoformat(row[name])
    if row.get("by"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["by"]) or row["by"] in text
    if row.get("total"):
        assert row["sum"] == sums_up(lines, Decimal(row["total"]))
