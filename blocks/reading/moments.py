"""Times as files write them, as aware UTC."""

from datetime import UTC, datetime


def moment(text: str) -> datetime | None:
    """An ISO time, in UTC where it names no zone; None where it is none."""
    try:
        read = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    try:
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:  # the first day of year 1, east of Greenwich
        return None
