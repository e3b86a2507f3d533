"""What the rows of an agent that is only a prompt must be: one for each item, each with who answered it."""

import csv
import io
from pathlib import Path


def check(folder: Path, day: str) -> None:
    """Assert that page and rows agree and that no row is without whose words it has."""
    page = (folder / f"{day}.md").read_text()
    rows = list(csv.DictReader(io.StringIO((folder / "rows.csv").read_text())))
    assert rows
    assert f"{len(rows)} items" in page
    assert all(row["by"] for row in rows)
    assert len({row["id"] for row in rows}) == len(rows)
