"""What must hold of a brief's outputs: every agent named exists, figures are those of the run records."""

import re
from pathlib import Path

from blocks.checking.day_facts import AGENT_NAME
from governor.run_records import agents_seen


def check(folder: Path, day: str) -> None:
    """Wants HOTDESK_HOME to be that of the run."""
    page = (folder / f"{day}.md").read_text()
    known = set(agents_seen())
    rows = [line.split(" | ") for line in page.splitlines() if re.match(r"\| [a-z_-]+/[a-z0-9-]+ \|", line)]
    for row in rows:
        runs, *states = (int(cell) for cell in row[1:7])
        assert runs == sum(states)
    for line in page.partition("## Missing")[0].splitlines():
        if name := re.match(rf"- ({AGENT_NAME.pattern})[: (]", line):
            assert name[1] in known
    total = re.search(r"(\d+) runs of (\d+) agents", page)
    if total and rows:
        assert int(total[1]) == sum(int(row[1]) for row in rows)
        assert int(total[2]) == len(rows)
