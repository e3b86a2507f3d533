"""How a flow gets the operator's document of a block: it, or the safe defaults, and never an error.

A typo in the UI, a document that was deleted, or a server that does not answer must stop neither the
governor nor an agent. What was wrong stands in the log.
"""

import logging
from typing import TypeVar

import httpx
from prefect.blocks.core import Block
from prefect.exceptions import PrefectException

from governor.events import log_event

DEFAULT_DOCUMENT = "default"
# ValueError: there is no such document, or the class refuses its values. RuntimeError: Prefect's own words for
# values that do not pass, or for a server that cannot be reached. The other two: what the server answered.
UNUSABLE = (ValueError, RuntimeError, httpx.HTTPError, PrefectException)

B = TypeVar("B", bound=Block)


def load_document(kind: type[B], name: str = DEFAULT_DOCUMENT) -> B:
    """The document `name` of this block type; all its defaults where the name is another block's.

    Raises:
        one of UNUSABLE: it cannot be had.
    """
    document = kind.load(name)
    return document if isinstance(document, kind) else kind()


def load_or_default(kind: type[B], name: str = DEFAULT_DOCUMENT) -> B:
    """The document `name` of this block type, or a block with all its defaults."""
    try:
        return load_document(kind, name)
    except UNUSABLE as error:
        log_event("block_defaults", level=logging.WARNING, block=kind.__name__, why=f"{type(error).__name__}: {error}")
        return kind()
