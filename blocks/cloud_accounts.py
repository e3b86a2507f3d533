"""The cloud tiers that agents may use now: every `CloudTier` document of the server, then keys of the environment.

Documents win, also by being wrong or switched off: the tier that they name is left out then. While a server has not
said what its documents are, no tier is used at all: one of them may switch it off. Keys stay in this process, for a
minute; nothing here writes them anywhere.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import PrefectHTTPStatusError
from pydantic import ValidationError

from blocks.cloud_tier import TIER_NAME, CloudTier, problems
from blocks.document import UNUSABLE, has_server
from governor.accounts import CloudAccount, environment_accounts
from governor.errors import BadInput
from governor.events import log_event

# A new key, or one that was withdrawn, counts after this long at most; a batch asks for them once.
KEEP_SECONDS = 60.0


@dataclass(frozen=True)
class TierDocument:
    """What became of one document: its account, or why there is none (`off`: it was switched off)."""

    name: str
    tier: str
    account: CloudAccount | None = None
    off: bool = False
    why: str = ""


Documents = tuple[TierDocument, ...]


class KnownAccounts:
    """The accounts of one process, read anew once a minute.

    Args:
        read: the documents, None while the server is silent. clock: seconds that only grow.
    """

    def __init__(self, read: Callable[[], Documents | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._documents: Documents | None = None
        self._accounts: tuple[CloudAccount, ...] | None = None
        self._read_s = 0.0

    def now(self, environ: Mapping[str, str]) -> tuple[CloudAccount, ...]:
        """One account for each tier that can be used; of a silent server's documents those that it had last.

        None at all while the documents could never be read.
        """
        if self._accounts is None or self._clock() - self._read_s >= KEEP_SECONDS:
            documents = self._read()
            self._documents = self._documents if documents is None else documents
            self._accounts, self._read_s = self._joined(environ), self._clock()
        return self._accounts

    def _joined(self, environ: Mapping[str, str]) -> tuple[CloudAccount, ...]:
        if self._documents is not None:
            return joined(self._documents, environ)
        why = "the documents could not be read, and one of them may switch a tier off"
        log_event("cloud_closed", level=logging.WARNING, why=why)
        return ()


def current_accounts() -> tuple[CloudAccount, ...]:
    """Every tier with a key; none when there is a server and it never answered.

    Never raises: what cannot be used is told of in the log.
    """
    return _known.now(os.environ)


def read_documents() -> Documents | None:
    """Every `CloudTier` document of the server, None when it does not answer; none where there is no server."""
    if not has_server():
        return ()
    try:
        found = _on_the_server()
    except UNUSABLE as error:
        # The type of it only: the text of an error may quote what the server sent, and that holds keys.
        log_event("cloud_documents_silent", level=logging.WARNING, why=type(error).__name__)
        return None
    return tuple(read_document(document.name or "", document.data) for document in found)


def read_document(name: str, data: Mapping[str, object]) -> TierDocument:
    """One document as the server gives it, secrets included."""
    named = str(data.get("tier", ""))
    tier = named if re.fullmatch(TIER_NAME, named) else ""  # what is none may be a key in the wrong field
    try:
        block = CloudTier.model_validate(dict(data))
        block._block_document_name = name
        if not block.enabled:
            return TierDocument(name, block.tier, off=True, why="switched off")
        return TierDocument(name, block.tier, account=block.account())
    except BadInput as error:
        why = error.data.get("why", error.happened)
    except ValidationError as error:
        why = problems(error)
    log_event("cloud_document_wrong", level=logging.WARNING, tier=tier, document=name, why=why)
    return TierDocument(name, tier, off=data.get("enabled") is False, why=why)


def joined(documents: Iterable[TierDocument], environ: Mapping[str, str]) -> tuple[CloudAccount, ...]:
    """One account for each tier: of its first document, else of the environment; none if any document is off."""
    found: dict[str, CloudAccount | None] = {}
    for document in sorted((one for one in documents if one.tier), key=lambda one: not one.off):
        found.setdefault(document.tier, document.account)
    try:
        for account in environment_accounts(environ):
            found.setdefault(account.model.name, account)
    except BadInput as error:
        log_event("catalogue_wrong", level=logging.WARNING, why=error.happened)
    return tuple(account for account in found.values() if account is not None)


def _on_the_server() -> list[BlockDocument]:
    """All documents of the type, by name, in one answer; none where the type was never registered."""
    try:
        with get_client(sync_client=True) as client:
            return client.read_block_documents_by_type(CloudTier.get_block_type_slug(), include_secrets=True)
    except PrefectHTTPStatusError as error:
        if error.response.status_code == httpx.codes.NOT_FOUND:
            return []
        raise


_known = KnownAccounts(read_documents)
