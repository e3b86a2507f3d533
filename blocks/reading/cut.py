"""Lists whose end counts as much as their beginning: read whole, or not at all."""

from blocks.reading.places import unreadable
from blocks.reading.rows import MOST_ROWS, first_rows


def whole_rows(source: str, *, max_bytes: int) -> list[dict[str, str]]:
    """All rows of a file.

    Raises:
        BadInput: it cannot be read, or has more than may be read.
    """
    part = first_rows(source, max_bytes=max_bytes)
    if part.is_cut:
        raise unreadable(source, f"it is longer than {max_bytes} bytes (`max_bytes`) or {MOST_ROWS} rows")
    return part.rows
