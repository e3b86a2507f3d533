"""All that the Prefect server has of something: its answers come by the page."""

from collections.abc import Callable
from typing import Any

# What one answer of the server holds at most.
PAGE = 200


def all_pages(read: Callable[..., list[Any]]) -> list[Any]:
    """Every row, in the order of the server; `read` takes `limit` and `offset`."""
    found: list[Any] = []
    while page := read(limit=PAGE, offset=len(found)):
        found += page
        if len(page) < PAGE:
            break
    return found
