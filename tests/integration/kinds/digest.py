"""digest: every entry that was read is there once, its address and every number are the feed's, and so is the rest."""

import csv
import json
import re
from pathlib import Path

from blocks.checking.prose import NUMBER, first_sentence
from blocks.checking.retold import retold
from blocks.reading.feeds import read_feed
from blocks.writing.csv_files import plain
from blocks.writing.markdown import BY_RULES
from deployments.fleet import read_fleet
from flows.digest import UNSORTED, DigestParameters

LINK = re.compile(r"https?://[^\s<>\"')\]]+")


def check(folder: Path, day: str) -> None:
    """Of the outputs of that day in the folder of an agent."""
    inputs = json.loads((folder / f"{day}.provenance.json").read_bytes())["inputs"]
    page = (folder / f"{day}.md").read_text()
    with (folder / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = _parameters(folder)
    entries = {plain(item.id): item for item in read_feed(told.source).items}
    assert [row["id"] for row in rows] == [plain(name) for name in inputs], "one row for each entry that was read"
    sections = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert set(sections) - {"Left out"} == {row["topic"] for row in rows} <= {*told.topics, UNSORTED}
    for row in rows:
        item = entries[row["id"]]
        source = f"{item.title} {item.text}"
        assert (row["title"], row["url"]) == (plain(item.title), item.url)
        if row["summary by"] == BY_RULES:
            assert row["summary"] == plain(first_sentence(item.text))
        else:
            assert retold(source)(row["summary"].removeprefix("'")) == []
        assert set(NUMBER.findall(row["summary"])) <= set(NUMBER.findall(source))
    known = {url for item in entries.values() for url in LINK.findall(f"{item.url} {item.text}")}
    assert set(LINK.findall(page)) <= known, "an address that no entry has"
    assert sum(line.startswith("- **") for line in page.splitlines()) == len(rows)


def _parameters(folder: Path) -> DigestParameters:
    name = folder.name.removeprefix("digest-")
    [entry] = [e for e in read_fleet() if e.entrypoint == "flows/digest.py:digest" and e.name == name]
    return DigestParameters.model_validate(entry.parameters["parameters"])
