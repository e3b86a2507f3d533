"""Samples that cannot be files of the checkout: a git repository inside another. Made where they are missing.

What stands in the repository is `deployments.sample_repository`'s; agents find it as `state:samples/repository`.
"""

import hashlib
import logging
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

import deployments
from governor.errors import HotdeskError
from governor.events import log_event
from governor.settings import Home

SAMPLES, REPOSITORY = "samples", "repository"
MAKER = Path(deployments.__file__).with_name("sample_repository.py")
# To make one takes seconds: a draft that is older was left by a command that was killed.
DRAFT_SECONDS = 3600.0
RECIPE = Path(deployments.__file__).parents[1] / "flows" / SAMPLES / "repository_recipe"


def prepare_samples(where: Home) -> None:
    """Make the sample repository unless it is there as its recipe says. Never fails: its agents say what is missing."""
    target = where.root / SAMPLES / REPOSITORY
    marker = target.with_name(f"{REPOSITORY}.recipe")
    recipe = recipe_digest()
    _sweep(target.parent)
    if not recipe or (target.is_dir() and marker.is_file() and marker.read_text() == recipe):
        return
    try:
        _make(target)
        marker.write_text(recipe)
    except (OSError, ValueError, subprocess.SubprocessError, HotdeskError) as error:
        log_event("samples_not_made", level=logging.WARNING, why=f"{type(error).__name__}: {error}")


def recipe_digest(maker: Path = MAKER, folder: Path = RECIPE) -> str:
    """sha256 of the maker and of all that it makes the repository from; '' where there is no maker."""
    if not maker.is_file():
        return ""
    digest = hashlib.sha256(maker.read_bytes())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"\0{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _sweep(folder: Path) -> None:
    """Remove drafts of commands that were killed; one that is being made beside us stays."""
    for draft in folder.glob(f".{REPOSITORY}.*"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > DRAFT_SECONDS:
                shutil.rmtree(draft, ignore_errors=True)


def _make(target: Path) -> None:
    """Made beside it and moved there whole. The old one is removed at once: who reads it meanwhile may fail."""
    from deployments.sample_repository import make_repository

    target.parent.mkdir(exist_ok=True, mode=0o700)
    draft = Path(mkdtemp(prefix=f".{REPOSITORY}.", dir=target.parent))
    try:
        make_repository(draft / REPOSITORY)
        if target.exists():
            target.rename(draft / "old")
        (draft / REPOSITORY).rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
