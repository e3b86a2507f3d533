"""A key in a document of the real server: agents get it, and nothing that anybody keeps holds it in plain text."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from pydantic import SecretStr

from blocks.cloud_accounts import joined, read_documents
from blocks.cloud_tier import CloudTier
from blocks.document import load_or_default
from blocks.router import UNREADABLE, ModelRouter
from governor.errors import ModelFailed
from governor.events import log_event
from governor.settings import Home

CANARY, ACCOUNT = "sk-canary-0815-4711", "account-canary-0815"
TIER, NAME = "cloudflare/gpt-oss-120b", "canary"
WITHIN_SECONDS = 30.0


@pytest.fixture
def saved(fleet_server: Home) -> Iterator[Home]:
    """A document with a key, as an operator saves it, and one beside it that cannot be used."""
    CloudTier(tier=TIER, api_key=SecretStr(CANARY), account_id=SecretStr(ACCOUNT)).save(NAME)
    CloudTier(tier="groq/nothing", api_key=SecretStr(CANARY)).save("wrong")
    try:
        yield fleet_server
    finally:
        with get_client(sync_client=True) as client:
            for name in (NAME, "wrong"):
                document = client.read_block_document_by_name(name, "cloud-tier")
                client.delete_block_document(document.id)


@flow(log_prints=True, persist_result=True)
def shows_all_that_it_has(account: Any, block: Any) -> str:
    """An agent that says more than any does: document and account in its log, in an artifact and in its error."""
    log_event("canary_shown", level=logging.WARNING, account=account, block=block, documents=read_documents())
    print(block, account)
    create_markdown_artifact(f"{block!r} {account!r} {block.model_dump_json()}", key="canary")
    raise ModelFailed(f"No answer from {account}.", remedy=f"See {block}.", account=account)


def logs_of(client: SyncPrefectClient, run: UUID) -> str:
    """The run's log, once the server has what it said last."""
    ends_s = time.monotonic() + WITHIN_SECONDS
    while True:
        found = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))
        text = "\n".join(entry.message for entry in found)
        if "Finished in state" in text or time.monotonic() > ends_s:
            return text
        time.sleep(0.1)


def holders(folder: Path) -> list[str]:
    """The files below `folder` that hold the key or the account in plain text."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [str(path) for path in files if any(word.encode() in path.read_bytes() for word in (CANARY, ACCOUNT))]


def test_a_key_is_in_no_log_no_artifact_no_parameter_no_error_and_no_file(saved: Home):
    [account] = joined(read_documents() or (), {})
    assert [secret.get_secret_value() for secret in account.secrets] == [CANARY, ACCOUNT]  # who calls the tier has it
    state = shows_all_that_it_has(account, CloudTier.load(NAME), return_state=True)
    assert "No answer from CloudAccount(" in (state.message or "")
    run_id = state.state_details.flow_run_id
    assert run_id is not None
    with get_client(sync_client=True) as client:
        told, run = logs_of(client, run_id), client.read_flow_run(run_id)
        shown = [artifact for artifact in client.read_artifacts() if artifact.key == "canary"]
        plain = client.read_block_documents_by_type("cloud-tier", include_secrets=False)
    assert "canary_shown" in told  # so the log did reach the server
    assert set(run.parameters) == {"account", "block"}
    assert TIER in str(shown)
    everything = f"{told} {run} {run.parameters} {shown} {plain} {state}"
    assert CANARY not in everything
    assert ACCOUNT not in everything
    assert holders(saved.root) == []


def test_a_document_gives_its_account_and_a_wrong_one_beside_it_its_reason(saved: Home):
    found = {document.name: document for document in read_documents() or ()}
    assert found[NAME].account is not None
    assert found["wrong"].account is None
    assert "the catalogue has no such tier" in found["wrong"].why


def test_a_document_that_the_server_does_not_have_is_missing_and_not_unreadable(fleet_server: Home):
    assert load_or_default(ModelRouter, "nobody-made-it", unreadable=UNREADABLE) == ModelRouter()


def test_no_document_of_a_tier_is_made_unasked(fleet_server: Home):
    assert read_documents() == ()
