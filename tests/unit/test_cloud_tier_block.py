"""A document with a key: what it becomes, why it cannot be used, and that nothing shows its key."""

from typing import Any

import pytest
from pydantic import ValidationError

from blocks.cloud_accounts import read_document
from blocks.cloud_tier import CloudTier
from governor.errors import BadInput
from governor.policy.requests import CloudModel, Privacy, Span
from governor.tier_catalogue import catalogue

CANARY = "sk-canary-4711"
GROQ = "groq/gpt-oss-120b"
OWN: dict[str, Any] = {
    "tier": "mine/qwen3",
    "calls": "openai/qwen3",
    "api_base": "http://127.0.0.1:1/v1",
    "context_tokens": 4096,
    "parameters_billion": 32,
}


def block(**said: Any) -> CloudTier:
    return CloudTier.model_validate({"tier": GROQ, "api_key": CANARY, **said})


def limits(model: CloudModel) -> dict[str, int]:
    return {f"{a.unit}_per_{a.span.value}": a.amount for a in model.allowances}


def test_a_tier_of_the_catalogue_and_its_key_are_all_that_is_needed():
    account = block().account({})
    assert account.model.calls == "groq/openai/gpt-oss-120b"
    assert [secret.get_secret_value() for secret in account.secrets] == [CANARY]
    assert account.model.may_see(Privacy.NO_TRAINING)


def test_what_the_form_says_counts_instead_of_the_catalogue():
    said = {"trains": "yes", "free": False, "zone": "Europe/Berlin", "input_usd_per_million": 3, "context_tokens": 999}
    model = block(**said).account({}).model
    assert (model.trains, model.free, model.zone, model.context_tokens) == ("yes", False, "Europe/Berlin", 999)
    assert (model.input_usd, model.output_usd) == (3, 0.60)
    assert not model.may_see(Privacy.NO_TRAINING)


def test_a_limit_of_the_form_replaces_adds_or_takes_away_one():
    model = block(requests_per_day=5, tokens_per_month=7, tokens_per_minute=0).account({}).model
    assert limits(model) == {
        "requests_per_minute": 30,
        "requests_per_day": 5,
        "tokens_per_day": 200_000,
        "tokens_per_month": 7,
    }


def test_a_limit_that_all_models_share_is_still_shared_when_it_is_another():
    model = block(tier="openrouter/free", requests_per_day=1000).account({}).model
    [day] = [allowance for allowance in model.allowances if allowance.span is Span.DAY]
    assert (day.amount, day.shared) == (1000, True)


def test_without_a_key_the_variables_of_the_environment_are_used():
    account = block(api_key=None, requests_per_day=5).account({"GROQ_API_KEY": "sk-environment"})
    assert account.secrets[0].get_secret_value() == "sk-environment"
    assert limits(account.model)["requests_per_day"] == 5


def test_cloudflare_needs_its_account_too():
    account = block(tier="cloudflare/gpt-oss-120b", account_id="acc").account({})
    assert [secret.get_secret_value() for secret in account.secrets] == [CANARY, "acc"]


def test_a_server_of_ones_own_is_a_tier_with_or_without_a_key():
    for key in (CANARY, None):
        account = block(**OWN, api_key=key, free=True).account({"API_KEY": "somebody else's"})
        assert (account.model.name, account.model.free, len(account.secrets)) == (
            "mine/qwen3",
            True,
            int(key is not None),
        )
        assert account.model.trains == "unknown"


def test_a_new_model_of_a_known_provider_has_its_training_its_zone_and_its_shared_limits():
    new = {"context_tokens": 4096, "parameters_billion": 26, "calls": "openrouter/google/gemma-4-26b:free"}
    model = block(tier="openrouter/gemma-4-26b", **new).account({}).model
    assert limits(model) == {"requests_per_minute": 20, "requests_per_day": 50}
    assert all(allowance.shared for allowance in model.allowances)
    assert (model.key_variables, model.free) == (("OPENROUTER_API_KEY",), False)  # free is what its owner says is free
    gemini = block(tier="gemini/new", calls="gemini/new", context_tokens=4096, parameters_billion=9).account({}).model
    assert (gemini.trains, gemini.zone) == ("yes", "America/Los_Angeles")


ELSEWHERE: list[dict[str, Any]] = [{"api_base": "http://127.0.0.1:1/v1"}, {"calls": "openai/gpt-oss-120b"}]


@pytest.mark.parametrize("said", ELSEWHERE)
def test_words_that_go_elsewhere_have_no_word_of_the_catalogue_on_training_or_cost(said: dict[str, Any]):
    model = block(**said).account({}).model
    assert (model.trains, model.free) == ("unknown", False)
    assert not model.may_see(Privacy.NO_TRAINING)
    assert block(**said, trains="no", free=True).account({}).model.may_see(Privacy.NO_TRAINING)  # their owner may know


@pytest.mark.parametrize("said", ELSEWHERE)
def test_a_key_of_the_environment_goes_to_its_provider_only(said: dict[str, Any]):
    with pytest.raises(BadInput):
        block(**said, api_key=None).account({"GROQ_API_KEY": CANARY})


def test_another_model_of_the_same_provider_has_its_word_on_training_and_its_limits_but_no_price():
    model = block(calls="groq/qwen/qwen3.8-27b").account({}).model
    assert (model.trains, model.free, model.input_usd, model.output_usd) == ("no", False, None, None)
    assert model.usd(1, 1) is None  # no ceiling covers that
    shared = block(tier="openrouter/free", calls="openrouter/anthropic/claude-opus-4").account({}).model
    assert (shared.free, shared.usd(1, 1)) == (False, None)
    assert limits(shared) == {"requests_per_minute": 20, "requests_per_day": 50}
    assert all(allowance.shared for allowance in shared.allowances)


def test_what_another_model_costs_is_for_its_owner_to_say():
    said = {"calls": "groq/qwen/qwen3.8-27b", "input_usd_per_million": 1, "output_usd_per_million": 2}
    model = block(**said).account({}).model
    assert (model.free, model.usd(1_000_000, 1_000_000)) == (False, 3)
    assert block(calls="groq/qwen/qwen3.8-27b", free=True).account({}).model.free


@pytest.mark.parametrize(
    ("tier", "said"),
    [
        (GROQ, {"calls": "groq/openai/gpt-oss-120b"}),
        ("ollama/gpt-oss-120b", {"api_base": "https://ollama.com/"}),
    ],
)
def test_the_catalogues_own_words_in_a_document_change_nothing(tier: str, said: dict[str, str]):
    model = block(tier=tier, **said).account({}).model
    known = catalogue()[tier]
    assert (model.free, model.input_usd, model.trains) == (True, known.input_usd, known.trains)


def test_a_key_that_may_be_billed_is_free_only_where_its_owner_says_so():
    gemini = {"tier": "gemini/gemini-3.6-flash"}
    assert not block(**gemini).account({}).model.free
    assert block(**gemini, free=True).account({}).model.free


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tier": GROQ}, "it needs api_key"),
    ({"tier": GROQ, "api_key": "  "}, "it needs api_key"),
    ({"tier": "groq/gpt-oss-12b", "api_key": CANARY}, "the catalogue has no such tier"),
    ({"tier": "cloudflare/gpt-oss-120b", "api_key": CANARY}, "api_key and account_id"),
    ({"tier": GROQ, "api_key": CANARY, "account_id": "acc"}, "takes no account_id"),
    ({"tier": GROQ, "account_id": CANARY}, "it needs api_key and takes no account_id"),
    ({"tier": "cloudflare/gpt-oss-120b", "account_id": CANARY}, "api_key and account_id"),
    ({**OWN, "account_id": CANARY}, "api_key and account_id"),
    ({"tier": GROQ, "api_key": CANARY, "request_per_day": 5}, "no field request_per_day"),
    ({"tier": GROQ, "api_key": CANARY, "train": "yes"}, "no field train"),
    ({**OWN, "context_tokens": None}, "context_tokens"),
    ({**OWN, "api_base": None}, "it needs api_key"),
]


@pytest.mark.parametrize(("said", "why"), WRONG)
def test_a_document_that_cannot_be_used_says_why(said: dict[str, Any], why: str):
    with pytest.raises(BadInput) as refused:
        CloudTier.model_validate(said).account({})
    assert why in refused.value.happened
    assert said["tier"] in refused.value.happened
    assert CANARY not in str(refused.value) + repr(refused.value.data)


SPOILED: list[dict[str, Any]] = [
    *(said for said, _ in WRONG),
    {"tier": GROQ, "api_key": CANARY, "requests_per_day": CANARY},
    {"tier": GROQ, "api_key": CANARY, "zone": CANARY},
    {"tier": GROQ, "api_key": {"nested": CANARY}},
    {"tier": GROQ, "api_key": CANARY, "trains": CANARY},
    {"tier": CANARY, "api_key": GROQ},
    {"tier": None, "api_key": CANARY},
    {"api_key": CANARY},
]


@pytest.mark.parametrize("said", SPOILED)
def test_a_wrong_document_is_left_out_with_the_reason_and_without_its_key(
    said: dict[str, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    document = read_document("mine", said)
    assert document.account is None
    assert document.why
    assert "cloud_document_wrong" in caplog.text
    assert CANARY not in caplog.text + repr(document)


def test_the_server_is_told_which_fields_are_secret():
    assert set(CloudTier.model_json_schema()["secret_fields"]) == {"api_key", "account_id"}


@pytest.mark.parametrize("said", SPOILED[len(WRONG) : -1])
def test_what_was_typed_into_a_wrong_field_is_not_in_the_error(said: dict[str, Any]):
    with pytest.raises(ValidationError) as refused:
        CloudTier.model_validate(said)
    assert CANARY not in str(refused.value)


def test_a_block_shows_no_key():
    shown = block(account_id=CANARY + "2")
    assert CANARY not in f"{shown!r} {shown} {shown.model_dump()} {shown.model_dump_json()}"


def test_what_a_block_can_do_is_documented():
    for method in (CloudTier.account, CloudTier.model, CloudTier):
        assert method.__doc__
