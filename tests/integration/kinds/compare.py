"""The rules of compare, on what it wrote about the samples: both quotes are verbatim in their files."""

import csv
from pathlib import Path

from blocks.reading.places import locate

SOURCES = {
    "docs-drift": ("state:samples/repository", "state:samples/repository"),
    "terms": ("flows/samples/terms/new", "flows/samples/terms/old"),
}
VERDICTS = (
    "missing in",
    "values differ",
    "named in both",
    "not looked up",
    "new clause",
    "clause is gone",
    "figures",
    "duties",
    "words",
)


def check(folder: Path, day: str) -> None:
    """Quotes at their file and line; a verdict of the rules in every row; no model's word without its name."""
    page = (folder / f"{day}.md").read_text()
    [(source, against)] = [pair for name, pair in SOURCES.items() if folder.name.endswith(name)]
    with (folder / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        assert row["verdict"].startswith(VERDICTS)
        assert (row["by"] != "by rules only") == bool(row["model reads"])
        for top, place, says in ((source, row["place"], row["says"]), (against, row["other place"], row["other says"])):
            if place:
                name, _, line = place.rpartition(":")
                lines = (locate(top) / name).read_text().splitlines()[int(line) - 1 :]
                assert _plain("\n".join(lines)).startswith(_plain(says.removeprefix("'")))
    assert "](http" not in page


def _plain(text: str) -> str:
    return " ".join(text.split())
