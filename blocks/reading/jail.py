"""A file of a folder that is asked for by its name: links that lead out of the folder are not followed."""

import stat
from pathlib import Path


def within(folder: Path, name: str) -> Path | None:
    """Its path; None where there is no such file, or where it lies elsewhere, links resolved."""
    try:
        real = (folder / name).resolve(strict=True)
        inside = real.is_relative_to(folder.resolve()) and stat.S_ISREG(real.stat().st_mode)
    except (OSError, RuntimeError):  # it is not there, or is a loop
        return None
    return folder / name if inside else None
