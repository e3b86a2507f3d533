"""The newest files of a folder, and how many older ones are left out. What counts as new is for the reader to say."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocks.reading.places import MOST_NAMES, files_in

DAY_IN_NAME = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Newest:
    """Files, the newest first. `left_out`: how many older ones there are."""

    paths: list[Path]
    left_out: int


def newest_files(
    source: str, suffixes: frozenset[str], *, most: int, age: Callable[[Path], tuple[Any, ...]] | None = None
) -> Newest:
    """The newest files of a folder, links resolved as in `files_in`.

    Args:
        age: what they are ordered by; without it the second of their last change, then a day in their names. What is
            equal stays in the order of its paths.

    Raises:
        BadInput: the folder cannot be read.
    """
    found = files_in(source, suffixes, max_files=MOST_NAMES)
    ordered = sorted(found, key=age or _changed, reverse=True)
    return Newest(ordered[:most], max(0, len(ordered) - most))


def changed_at(path: Path) -> float:
    """When a file was last changed, in whole seconds; long ago where it went away."""
    try:
        return math.floor(path.stat().st_mtime)
    except OSError:
        return 0.0


def _changed(path: Path) -> tuple[float, str]:
    """A copy or a checkout gives many files the same second; a day in a name tells more then."""
    return changed_at(path), day_in(path)


def day_in(path: Path) -> str:
    """The day that a file's name says, '' for none."""
    found = DAY_IN_NAME.search(path.name)
    return found[0] if found else ""
