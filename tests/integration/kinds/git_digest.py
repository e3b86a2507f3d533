"""The rules of git-digest, on what it wrote about the sample repository: recomputed from git."""

import re
from pathlib import Path

from blocks.checking.commits import foreign
from blocks.reading.history import Span, commits_of, read_ranges
from blocks.reading.repository import open_repository

SOURCE = "state:samples/repository"


def check(folder: Path, day: str) -> None:
    """Every commit of the range once, none from elsewhere, and the numbers are git's."""
    page = (folder / f"{day}.md").read_text()
    ends = read_ranges(folder)[day]
    commits = commits_of(open_repository(SOURCE), Span(ends["from"], ends["to"], ""))
    shas = {commit.sha for commit in commits}
    if not commits:
        assert "No new commits" in page
        return
    assert all(sha[:10] in page for sha in shas)
    assert foreign(page.partition("\n> why:")[0], shas) == []
    assert all(page.count(f"`{sha[:10]}`") <= 2 for sha in shas)  # once more where the range begins
    found = re.search(r"(\d+) commits by (\d+) authors, (\d+) of them merges", page)
    assert found is not None
    expected = (len(commits), len({c.author for c in commits}), sum(c.is_merge for c in commits))
    assert tuple(map(int, found.groups())) == expected
    assert "](http" not in page
