"""How a flow gets the operator's document of a block: it, or the safe defaults, and never an error.

A typo in the UI, a document that was deleted, or a server that does not answer must stop neither the
governor nor an agent. What was wrong stands in the log.
"""

import logging
from collections.abc import Mapping
from typing import TypeVar

import httpx
from prefect.blocks.core import Block
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.settings import get_current_settings

from governor.events import log_event

DEFAULT_DOCUMENT = "default"
# ValueError: there is no such document, or the class refuses its values. RuntimeError: Prefect's own words for
# values that do not pass, or for a server that cannot be reached. The other two: what the server answered.
UNUSABLE = (ValueError, RuntimeError, httpx.HTTPError, PrefectException)

B = TypeVar("B", bound=Block)


def load_document(kind: type[B], name: str = DEFAULT_DOCUMENT) -> B:
    """The document `name` of this block type.

    Raises:
        one of UNUSABLE: it cannot be had, or it is another block's.
    """
    document = kind.load(name)
    if not isinstance(document, kind):
        raise ValueError(f"The document {name} is one of {type(document).__name__}, not of {kind.__name__}.")
    return document


def load_or_default(
    kind: type[B], name: str = DEFAULT_DOCUMENT, *, unreadable: Mapping[str, object] | None = None
) -> B:
    """The document `name` of this block type, or a block with all its defaults.

    Args:
        unreadable: fields that stand in for those of a document that may be there but cannot be read.
    """
    try:
        return load_document(kind, name)
    except UNUSABLE as error:
        log_event("block_defaults", level=logging.WARNING, block=kind.__name__, why=f"{type(error).__name__}: {error}")
        return kind() if _is_missing(error) else kind.model_validate(dict(unreadable or {}))


def has_server() -> bool:
    """Whether this process has a Prefect server to ask: an address of one, or one of its own on demand."""
    settings = get_current_settings()
    return bool(settings.api.url) or settings.server.ephemeral.enabled


def _is_missing(error: Exception) -> bool:
    """Whether it is certain that there is no such document: a server said so, or there is no server."""
    return isinstance(error.__cause__, ObjectNotFound) or not has_server()
