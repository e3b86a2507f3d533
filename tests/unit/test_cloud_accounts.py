"""All documents together: which tier counts, that a wrong one harms no other, and what a silent server leaves."""

import logging
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks import cloud_accounts
from blocks.cloud_accounts import KEEP_SECONDS, Documents, KnownAccounts, TierDocument, joined, read_document
from governor.accounts import CloudAccount

CANARY = "sk-canary-4711"
GROQ = "groq/gpt-oss-120b"


def tiers(accounts: tuple[CloudAccount, ...]) -> list[str]:
    return [account.model.name for account in accounts]


def test_a_wrong_document_harms_no_other_tier():
    wrong = read_document("wrong", {"tier": GROQ, "api_key": CANARY, "requests_per_day": "many"})
    right = read_document("right", {"tier": "cohere/command-a", "api_key": CANARY})
    found = joined([wrong, right], {"GEMINI_API_KEY": "k", "GROQ_API_KEY": "k"})
    tiers = {account.model.name for account in found}
    # The tier that it names is left out whole: what it wanted to restrict is not known.
    assert tiers == {
        *("cohere/command-a", "groq/gpt-oss-20b"),
        *("gemini/gemini-3.1-flash-lite", "gemini/gemini-3.6-flash"),
    }


def test_a_document_wins_over_the_environment_and_the_first_over_the_second():
    documents = [read_document(n, {"tier": GROQ, "api_key": n, "requests_per_day": 5}) for n in ("one", "two")]
    [account] = [a for a in joined(documents, {"GROQ_API_KEY": "k"}) if a.model.name == GROQ]
    assert (account.origin, account.secrets[0].get_secret_value()) == ("block: one", "one")
    assert ("requests", 5) in [(a.unit, a.amount) for a in account.model.allowances]


def test_a_tier_that_is_switched_off_is_off_wherever_its_key_is():
    off = read_document("off", {"tier": GROQ, "api_key": CANARY, "enabled": False})
    assert [a.model.name for a in joined([off], {"GROQ_API_KEY": "k"})] == ["groq/gpt-oss-20b"]


@pytest.mark.parametrize("more", [{}, {"requests_per_day": "many"}], ids=["sound", "wrong"])
def test_a_tier_that_any_document_switches_off_is_off_whatever_the_others_say(more: dict[str, Any]):
    on = read_document("a", {"tier": GROQ, "api_key": CANARY})
    off = read_document("b", {"tier": GROQ, "enabled": False, **more})
    assert joined([on, off], {"GROQ_API_KEY": "k"}) == joined([off, on], {"GROQ_API_KEY": "k"})
    assert tiers(joined([on, off], {"GROQ_API_KEY": "k"})) == ["groq/gpt-oss-20b"]


class Server:
    """FAKE Prefect server: gives documents, or is silent; counts how often it is asked."""

    def __init__(self, documents: Documents | None) -> None:
        self.documents, self.asked = documents, 0

    def __call__(self) -> Documents | None:
        self.asked += 1
        return self.documents


@pytest.fixture
def document() -> TierDocument:
    return read_document("mine", {"tier": "cohere/command-a", "api_key": CANARY})


def test_documents_are_asked_for_once_a_minute(document: TierDocument):
    server, clock = Server((document,)), [0.0]
    known = KnownAccounts(server, lambda: clock[0])
    assert [tiers(known.now({})) for _ in range(3)] == [["cohere/command-a"]] * 3
    clock[0] = KEEP_SECONDS - 1
    known.now({})
    assert server.asked == 1
    server.documents, clock[0] = (), KEEP_SECONDS
    assert tiers(known.now({})) == []
    assert server.asked == 2


def test_a_server_that_never_spoke_leaves_no_tier_and_later_what_it_said_before(
    document: TierDocument, caplog: pytest.LogCaptureFixture
):
    server, clock, environ = Server(None), [0.0], {"ZAI_API_KEY": "k"}
    known = KnownAccounts(server, lambda: clock[0])
    assert tiers(known.now(environ)) == []  # a document may switch it off
    assert "cloud_closed" in caplog.text
    server.documents, clock[0] = (document,), KEEP_SECONDS
    assert tiers(known.now(environ)) == ["cohere/command-a", "zai/glm-4.7-flash"]
    server.documents, clock[0] = None, 2 * KEEP_SECONDS
    assert tiers(known.now({})) == ["cohere/command-a"]


def a_server_at(url: str | None) -> AbstractContextManager[Any]:
    return temporary_settings({PREFECT_API_URL: url})


def test_without_a_server_there_are_no_documents_and_nothing_to_wait_for():
    with a_server_at(None):  # and none of its own: see conftest
        assert cloud_accounts.read_documents() == ()
        assert tiers(KnownAccounts(cloud_accounts.read_documents).now({"ZAI_API_KEY": "k"})) == ["zai/glm-4.7-flash"]


SILENT = [
    httpx.ConnectError(f"refused, {CANARY}"),
    ValueError(f"No Prefect API URL, {CANARY}"),
    httpx.ReadTimeout(CANARY),
]


@pytest.mark.parametrize("error", SILENT, ids=lambda e: type(e).__name__)
def test_a_server_that_cannot_be_asked_is_silent_and_its_error_is_not_quoted(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def refuse() -> Any:
        raise error

    monkeypatch.setattr(cloud_accounts, "_on_the_server", refuse)
    with a_server_at("http://127.0.0.1:9/api"), caplog.at_level(logging.WARNING, "hotdesk"):
        assert cloud_accounts.read_documents() is None
    assert "cloud_documents_silent" in caplog.text
    assert CANARY not in caplog.text
