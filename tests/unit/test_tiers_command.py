"""`hotdesk tiers`: what it says of keys, allowances and closed tiers, and what an operator can open again."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from blocks.cloud_accounts import TierDocument, read_document
from deployments.checks.cloud import LONGEST_AGE, tiers_on
from deployments.cli import app
from deployments.tiers import look_at, run_tiers
from deployments.tiers_view import lines
from governor import ledger, tier_states
from governor.errors import BadInput
from governor.ledger import Wish
from governor.policy.requests import CloudModel
from governor.settings import Home
from governor.tier_catalogue import catalogue, the_catalogue

CANARY = "sk-canary-4711"
GROQ, GEMINI = "groq/gpt-oss-120b", "gemini/gemini-3.1-flash-lite"
pytestmark = pytest.mark.usefixtures("hotdesk_home")


def said(*documents: TierDocument, reopen: str | None = None, server: bool = True, **environ: str) -> str:
    return run_tiers(reopen, documents=lambda: documents if server else None, environ=environ)


def told(*documents: TierDocument, **environ: str) -> dict[str, dict[str, Any]]:
    found = json.loads(run_tiers(as_json=True, documents=lambda: documents, environ=environ))
    return {tier["name"]: tier for tier in found["tiers"]}


def section(text: str, tier: str) -> str:
    """The lines about one tier."""

    def belongs() -> Iterator[str]:
        inside = False
        for line in text.splitlines():
            inside = line.startswith(tier) or (inside and line.startswith(" "))
            if inside:
                yield line

    return "\n".join(belongs())


def use(model: CloudModel, *, calls: int, tokens: int) -> None:
    for _ in range(calls):
        ledger.reserve(model, Wish(tokens=tokens, due=True), now=datetime.now(UTC))


def document(name: str = "mine", **values: Any) -> TierDocument:
    return read_document(name, {"tier": GROQ, "api_key": CANARY, **values})


def test_without_any_key_every_tier_says_which_variables_it_wants():
    text = said()
    assert "gemini (GEMINI_API_KEY): gemini-3.1-flash-lite, gemini-3.6-flash; trains on prompts" in text
    assert "cloudflare (CLOUDFLARE_API_KEY, CLOUDFLARE_ACCOUNT_ID)" in text
    assert "sambanova (SAMBANOVA_API_KEY): llama-3.3-70b; may train on prompts; costs money" in text
    assert "key from" not in text


def test_a_tier_with_a_key_says_where_the_key_is_from_and_what_it_may_see():
    text = said(document("groq-120b"), GEMINI_API_KEY=CANARY)
    groq, gemini = section(text, GROQ), section(text, GEMINI)
    assert "key from block: groq-120b" in groq
    assert "does not train on prompts: sees no_training and public work; free, at list price $0.15 in" in groq
    assert "key from environment: GEMINI_API_KEY" in gemini
    assert "trains on prompts: sees public work" in gemini
    assert "not published, on the low side" in gemini
    assert CANARY not in text


def test_a_key_of_the_shell_is_free_only_without_a_means_of_payment_and_may_not_be_the_agents():
    text = said(GROQ_API_KEY=CANARY, GEMINI_API_KEY=CANARY)
    assert text.count("agents have those of the shell of `hotdesk up`") == 1
    assert "free if the account has no means of payment, at list price" in section(text, GROQ)
    gemini = section(text, GEMINI)
    assert "$0.25 in and $1.5 out a million tokens, under the router's ceiling" in gemini
    assert "free only where a Cloud Tier block says so (`free` on): once the Google project" in gemini
    assert (told(GEMINI_API_KEY=CANARY)[GEMINI]["free"], "free only" in said()) == (False, False)


def test_a_block_that_says_what_is_free_is_believed():
    text = said(document(tier=GEMINI, free=True))
    assert "work; free, at list price" in section(text, GEMINI)
    assert "free only" not in text
    assert "hotdesk up" not in text


def test_a_document_that_switches_a_tier_off_is_shown_whatever_the_others_say():
    text = section(said(document("a"), document("b", enabled=False)), GROQ)
    assert text == f"{GROQ}  not used: switched off"


def test_what_slides_is_told_as_the_ledger_counts_it():
    days = {given["unit"]: given for given in told(document())[GROQ]["allowances"] if given["span"] == "day"}
    assert days["requests"]["slides"]
    gemini = {given["span"]: given["slides"] for given in told()[GEMINI]["allowances"] if given["unit"] == "requests"}
    assert gemini == {"minute": True, "day": False}


def test_what_is_used_and_when_it_comes_back_is_told_of():
    use(catalogue()[GROQ], calls=2, tokens=700)
    use(catalogue()[GEMINI].model_copy(update={"free": True}), calls=1, tokens=100)
    text = said(GROQ_API_KEY=CANARY, GEMINI_API_KEY=CANARY)
    groq, gemini = section(text, GROQ), section(text, GEMINI)
    assert "2 of 30 requests a minute; 2 of 1,000 requests a day, the first comes back " in groq
    assert "1,400 of 8,000 tokens a minute" in groq
    assert "1 of 500 requests a day, anew 0" in gemini  # midnight in Los Angeles is 07:00 or 08:00 UTC
    assert "used: 0 of 30" in section(text, "groq/gpt-oss-20b")


def test_an_allowance_of_a_document_is_shown_instead_of_the_catalogues():
    assert "0 of 5 requests a day" in section(said(document(requests_per_day=5)), GROQ)


def test_a_closed_tier_says_until_when_and_why_until_it_is_opened_by_hand():
    now = datetime.now(UTC)
    tier_states.close(GROQ, now + timedelta(hours=1), closed_for="quota", why="its day is spent", now=now)
    closed = section(said(GROQ_API_KEY=CANARY), GROQ)
    assert "closed until" in closed
    assert f"UTC: its day is spent; open it: `hotdesk tiers --reopen {GROQ}`" in closed
    assert told(GROQ_API_KEY=CANARY)[GROQ]["closed_for"] == "quota"
    text = said(reopen=GROQ, GROQ_API_KEY=CANARY)
    assert text.startswith(f"{GROQ} is open again")
    assert "closed until" not in text
    assert said(reopen=GROQ).startswith(f"{GROQ} was not closed")


def test_a_tier_that_nobody_knows_cannot_be_opened():
    with pytest.raises(BadInput) as refused:
        said(reopen="groq/nothing")
    assert GROQ in refused.value.remedy


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"enabled": False}, "not used: switched off"),
        ({"requests_per_day": "many"}, "not used: requests_per_day: Input should be a valid integer"),
        ({"api_key": None}, "not used: it needs api_key"),
        ({"tier": "groq/nothing"}, "groq/nothing  not used: the catalogue has no such tier"),
        ({"tier": CANARY}, "? (mine)  not used: tier: String should match"),
    ],
)
def test_a_document_that_gives_no_account_says_why(values: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    text = said(document(**values))
    assert why in text
    assert CANARY not in text


def test_a_tier_that_is_switched_off_is_not_shown_as_usable_with_the_environments_key():
    text = section(said(document(enabled=False), GROQ_API_KEY=CANARY), GROQ)
    assert text == f"{GROQ}  not used: switched off"


def test_a_tier_of_ones_own_is_listed_beside_those_of_the_catalogue():
    own = document(
        tier="mine/qwen3",
        calls="openai/qwen3",
        api_base="http://127.0.0.1:1/v1",
        context_tokens=4096,
        parameters_billion=32,
    )
    assert "its price is unknown: not called" in section(said(own), "mine/qwen3")
    assert set(told(own)) == {*catalogue(), "mine/qwen3"}


def test_a_silent_server_is_told_of_and_leaves_the_environment():
    text = said(server=False, GROQ_API_KEY=CANARY)
    assert "The Prefect server does not answer" in text
    assert "key from environment: GROQ_API_KEY" in section(text, GROQ)


def test_programs_get_every_tier_with_times_in_iso_and_no_key():
    tiers = told(document(), ZAI_API_KEY=CANARY)
    assert set(tiers) == set(catalogue())
    groq = tiers[GROQ]
    assert (groq["key"], groq["may_see"]) == ("block: mine", ["no_training", "public"])
    assert groq["source"].startswith("https://")
    for given in groq["allowances"]:
        assert datetime.fromisoformat(given["resets_at"]).tzinfo
    assert CANARY not in json.dumps(tiers)


def test_no_key_is_in_what_is_looked_at():
    look = look_at((document(),), {"GEMINI_API_KEY": CANARY})
    assert CANARY not in f"{look!r}" + "\n".join(lines(look))


def test_the_command_needs_neither_a_server_nor_a_key(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch):
    for tier in catalogue().values():
        for name in tier.key_variables:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    done = CliRunner().invoke(app, ["tiers"])
    assert done.exit_code == 0
    assert "does not answer" in done.output


@pytest.mark.parametrize(
    ("age", "outcome", "words"),
    [(timedelta(0), "pass", "catalogue of"), (LONGEST_AGE, "pass", ""), (LONGEST_AGE + timedelta(days=1), "warn", "")],
)
def test_the_doctor_warns_of_an_old_catalogue(age: timedelta, outcome: str, words: str):
    as_of: date = the_catalogue().as_of
    row = tiers_on(as_of + age, {"GROQ_API_KEY": CANARY})
    assert row.outcome == outcome
    assert words in row.said
    assert str(as_of) in row.said
    assert f"{GROQ}, groq/gpt-oss-20b (free if the account has no means of payment)" in row.said
    assert "ceiling" not in row.said
    assert CANARY not in row.said + row.remedy


def test_the_doctor_tells_keys_that_may_be_billed_from_the_others():
    row = tiers_on(the_catalogue().as_of, {"GEMINI_API_KEY": CANARY, "ZAI_API_KEY": CANARY})
    assert "zai/glm-4.7-flash (free if the account has no means of payment); gemini/" in row.said
    assert "gemini/gemini-3.6-flash (called only under the router's ceiling" in row.said


def test_a_refusal_of_the_key_before_is_no_closure_with_the_key_that_is_there_now():
    now = datetime.now(UTC)
    until, secrets = now + timedelta(hours=1), (SecretStr(CANARY),)
    tier_states.close(GROQ, until, closed_for="key", why="groq does not accept the key", now=now, secrets=secrets)
    assert told(GROQ_API_KEY=CANARY)[GROQ]["closed_for"] == "key"
    assert told(GROQ_API_KEY="FAKE-other")[GROQ]["closed_for"] == ""
