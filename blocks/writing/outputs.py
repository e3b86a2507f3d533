"""An agent's outputs: files in `out/AGENT/`, whole or not at all, and where they came from beside them.

A run rewrites the files of its day; what would not change is not touched.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict, Field

from governor.failpoints import failpoint
from governor.settings import home

CAPPED_NOTE = "> capped: a first round works on few items with short answers.\n\n"
PROVENANCE = ".provenance.json"
DRAFT = ".part"


class Provenance(BaseModel):
    """Where the files of one day came from.

    Attributes:
        run: Prefect's id of the run that wrote them, `by-hand` for none. confirmed_by: the latest run that found
            nothing to change, with when.
        inputs: id of what was read -> sha256 of it. parameters: sha256 of what the agent was told.
        requests: sha256 of all that models were asked, prompts included.
        calls: how many answers came from which tier and model, and how many of those passed their checks.
        files: name -> sha256 of what was written.
        why: the line on which model did what (`blocks.why_line`).
    """

    model_config = ConfigDict(extra="ignore")

    agent: str
    run: str
    written_at: datetime
    capped: bool = False
    inputs: dict[str, str] = Field(default_factory=dict)
    parameters: str = ""
    requests: str = ""
    calls: list[dict[str, Any]] = Field(default_factory=list)
    files: dict[str, str] = Field(default_factory=dict)
    why: str = ""
    confirmed_by: str = ""
    confirmed_at: datetime | None = None


def slug(agent: str) -> str:
    """An agent's name as Prefect allows it in an artifact's key: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", agent.lower()).strip("-")


def folder_of(agent: str) -> Path:
    """Where an agent writes, and nowhere else."""
    folder = home().out / slug(agent)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def page_text(title: str, markdown: str, *, capped: bool, why: str = "") -> str:
    """The page as it is written. `why`: one line on which model did what, for its end."""
    end = f"\n> why: {why}\n" if why else ""
    return f"# {title}\n\n{CAPPED_NOTE if capped else ''}{markdown.rstrip()}\n{end}"


def read_provenance(folder: Path, day: str) -> Provenance | None:
    """Of the outputs of that day; None when there is none, or one that cannot be read."""
    try:
        return Provenance.model_validate_json((folder / f"{day}{PROVENANCE}").read_bytes())
    except (OSError, ValueError):
        return None


def write_outputs(folder: Path, day: str, files: Mapping[str, bytes], provenance: Provenance) -> None:
    """Write every file that changed, the provenance last.

    Who is killed between two of them leaves each either old or new; the provenance then names other hashes, by which
    the next run knows.

    Raises:
        ValueError: a name leads out of the folder, is hidden, or is a provenance's.
    """
    paths = {name: path_in(folder, name) for name in files}
    _sweep(folder)
    digests = {name: sha256(data) for name, data in sorted(files.items())}
    before = read_provenance(folder, day)
    for name, data in files.items():
        if not paths[name].is_file() or sha256(paths[name].read_bytes()) != digests[name]:
            write_whole(paths[name], data)
            failpoint("outputs.written")
    kept = provenance.model_copy(update={"files": digests})
    if before is not None and _same(before, kept):
        kept = before.model_copy(update={"confirmed_by": kept.run, "confirmed_at": kept.written_at})
    write_whole(folder / f"{day}{PROVENANCE}", json.dumps(kept.model_dump(mode="json"), indent=1).encode() + b"\n")


def drop_outputs(folder: Path, day: str) -> None:
    """Take away the page and the provenance of that name, such as why there was no page before there was one."""
    for name in (f"{day}.md", f"{day}{PROVENANCE}"):
        (folder / name).unlink(missing_ok=True)


def path_in(folder: Path, name: str) -> Path:
    """Where a file of that name lies, below the folder whatever the name says; folders on the way are made.

    Raises:
        ValueError: the name leads out of the folder, is hidden, or is a provenance's.
    """
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or any(part.startswith(".") for part in parts) or PROVENANCE in name:
        raise ValueError(f"{name!r} is no name for an output")
    path = folder / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(folder.resolve()) or path.is_symlink():
        raise ValueError(f"the name {name!r} leads out of the agent's folder")
    return path


def _sweep(folder: Path) -> None:
    """Take away the drafts of who died while writing; those of the living are theirs."""
    for draft in folder.rglob(f".*-*{DRAFT}"):
        pid = draft.name[1:].partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            with suppress(OSError):
                draft.unlink()


def _same(before: Provenance, now: Provenance) -> bool:
    """Whether nothing was written anew."""
    of_before, of_now = ((one.files, one.inputs, one.parameters, one.requests, one.capped) for one in (before, now))
    return of_before == of_now


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in its place in one step: draft, fsync, rename; a reader sees the old one or the new one."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{os.getpid()}-", suffix=DRAFT)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        failpoint("outputs.drafted")
        Path(draft).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(draft).unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """The rename itself; where a file system cannot sync a folder, its own order of writing has to do."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sha256(data: bytes | str) -> str:
    """Hex digest."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def sha256_of(parts: Sequence[object]) -> str:
    """Of some plain values, by their JSON."""
    return sha256(json.dumps(list(parts), sort_keys=True, default=str))
