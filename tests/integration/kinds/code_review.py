"""The rules of code-review, on what it wrote about the sample repository: recomputed from git."""

import csv
from pathlib import Path

from blocks.checking.review import SEVERITIES, findings_of
from blocks.reading.diffs import read_diff
from blocks.reading.history import Span, read_ranges
from blocks.reading.repository import open_repository

SOURCE, MOST_FINDINGS = "state:samples/repository", 12


def check(folder: Path, day: str) -> None:
    """Each finding at an added line, severities of the enum, no more than the cap, and the rules' verdicts stand."""
    page = (folder / f"{day}.md").read_text()
    ends = read_ranges(folder)[day]
    diff = read_diff(open_repository(SOURCE), Span(ends["from"], ends["to"], ""))
    places = {f"{hunk.path}:{line.number}" for hunk in diff.hunks for line in hunk.added}
    with (folder / "findings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) <= MOST_FINDINGS
    assert {row["place"] for row in rows} <= places
    assert {row["severity"] for row in rows} <= set(SEVERITIES)
    assert all(row["by"] and row["place"] in page for row in rows)
    if folder.name.endswith("security"):
        found = [(finding.place, finding.severity) for finding in findings_of(diff.hunks)][:MOST_FINDINGS]
        assert [(row["place"], row["severity"]) for row in rows] == found
    assert "hunter2" not in page
    assert "](http" not in page
