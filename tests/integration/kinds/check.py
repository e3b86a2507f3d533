"""What must hold of a check's outputs, recomputed from its files."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

from blocks.checking.failure_causes import CAUSES
from flows.check import MOST_BAD

SENTENCES = {cause.sentence for causes in CAUSES.values() for cause in causes}


def check(folder: Path, day: str) -> None:
    """The verdict is that of the findings, each finding of the page stands in the CSV file, no cause is invented."""
    page = (folder / f"{day}.md").read_text()
    with (folder / "findings.csv").open(newline="") as file:
        findings = list(csv.DictReader(file))
    assert findings
    count = Counter(finding["severity"] for finding in findings)
    worst = next((severity for severity in ("fail", "warn") if count[severity]), "ok")
    said = re.search(r"Verdict: \*\*(\w+)\*\* - (\d+) failed, (\d+) warnings, (\d+) fine", page)
    assert said is not None
    assert said.groups() == (worst, str(count["fail"]), str(count["warn"]), str(count["ok"]))
    rows = [[cell.strip() for cell in line.split(" | ")] for line in page.splitlines() if line.startswith("| ")]
    for row in rows:
        if len(row) == 3 and row[2].endswith(("by rules only |", "135M |")) and row[1]:
            assert row[1] in SENTENCES
    shown = sum(line.startswith(("| fail |", "| warn |")) for line in page.splitlines())
    assert shown == min(count["fail"] + count["warn"], MOST_BAD)
    assert json.loads((folder / "measured.json").read_text())["runs"]
