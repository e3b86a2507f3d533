"""What agents leave behind: a markdown file in `out/` and the same as a Prefect artifact."""

import os
import re
import tempfile
from datetime import datetime
from pathlib import Path

from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from governor.answers import Answer
from governor.settings import home

CAPPED_NOTE = "> capped: a first round works on few items with short answers.\n\n"


def slug(agent: str) -> str:
    """An agent's name as Prefect allows it in an artifact's key: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", agent.lower()).strip("-")


def write_output(agent: str, title: str, markdown: str, *, capped: bool, now: datetime, why: str = "") -> Path:
    """Write `out/<agent>/<time>.md` whole or not at all, and publish it; the path.

    Args:
        why: one line on which model did what, and why, for the end of it (`blocks.why_line`).
    """
    folder = home().out / slug(agent)
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{now:%Y-%m-%dT%H%M%S.%f}Z.md"
    end = f"\n> why: {cell(why)}\n" if why else ""
    text = f"# {title}\n\n{CAPPED_NOTE if capped else ''}{markdown.rstrip()}\n{end}"
    handle, draft = tempfile.mkstemp(dir=folder, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(draft).replace(path)
    if flow_run.id:
        create_markdown_artifact(key=slug(agent), markdown=text, description=f"{agent}: {path.name}")
    return path


def table(columns: list[str], rows: list[list[object]]) -> str:
    """A markdown table; line breaks and bars in cells are tamed."""
    head = [" | ".join(columns), " | ".join("---" for _ in columns)]
    body = [" | ".join(cell(value) for value in row) for row in rows]
    return "\n".join(f"| {line} |" for line in [*head, *body])


def cell(value: object) -> str:
    """Text that stays inside its table cell and carries no markup of its own."""
    return re.sub(r"\s+", " ", str(value)).replace("|", "\\|").replace("<", "&lt;").strip()


def byline(answer: Answer) -> str:
    """Who says so: the model (a demo model is named as such), or rules because no answer passed."""
    if not answer.verified:
        return "by rules only"
    return "demo model, 135M" if answer.demo else answer.model
