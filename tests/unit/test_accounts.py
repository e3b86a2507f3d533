"""Keys: which tiers they open, what litellm is told, and that no way of showing an account shows its key."""

import copy
import json
import logging
import pickle
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import cloudpickle
import pytest
from pydantic import SecretStr
from pydantic_core import to_json

from governor.accounts import CloudAccount, environment_accounts, list_price_usd, litellm_parameters
from governor.policy.facts import ModelSpec
from governor.policy.requests import Candidate, CloudModel
from governor.tier_catalogue import catalogue

CANARY = "sk-canary-4711"


def names(environ: dict[str, str]) -> list[str]:
    return [account.model.name for account in environment_accounts(environ)]


@pytest.mark.parametrize(
    ("environ", "tiers"),
    [
        ({}, []),
        ({"GROQ_API_KEY": CANARY}, ["groq/gpt-oss-120b", "groq/gpt-oss-20b"]),
        ({"GROQ_API_KEY": "  "}, []),
        ({"CLOUDFLARE_API_KEY": CANARY}, []),
        ({"CLOUDFLARE_ACCOUNT_ID": "a"}, []),
        ({"CLOUDFLARE_API_KEY": CANARY, "CLOUDFLARE_ACCOUNT_ID": "a"}, ["cloudflare/gpt-oss-120b"]),
        ({"SOME_API_KEY": CANARY}, []),
    ],
)
def test_a_tier_is_open_when_all_of_its_variables_are_set(environ: dict[str, str], tiers: list[str]):
    assert names(environ) == tiers


def test_every_tier_of_the_catalogue_opens_with_its_variables():
    environ = {name: CANARY for tier in catalogue().values() for name in tier.key_variables}
    assert names(environ) == list(catalogue())


def test_an_account_says_which_variables_its_key_is_from():
    [account] = environment_accounts({"COHERE_API_KEY": CANARY})
    assert account.origin == "environment: COHERE_API_KEY"


def account(tier: str, *secrets: str) -> CloudAccount:
    return CloudAccount(catalogue()[tier], tuple(SecretStr(secret) for secret in secrets), origin="block: mine")


def own(**said: Any) -> CloudModel:
    values = {"name": "mine/model", "calls": "openai/model", "context_tokens": 4096, "parameters_billion": 7}
    return CloudModel.model_validate({**values, **said})


TOLD = [
    (account("groq/gpt-oss-20b", CANARY), {"model": "groq/openai/gpt-oss-20b", "reasoning_effort": "low"}),
    (
        account("cloudflare/gpt-oss-120b", CANARY, "acc"),
        {"api_base": "https://api.cloudflare.com/client/v4/accounts/acc/ai/v1"},
    ),
    (account("ollama/gpt-oss-120b", CANARY), {"api_base": "https://ollama.com"}),
    (account("zai/glm-4.7-flash", CANARY), {"extra_body": {"thinking": {"type": "disabled"}}}),
    (account("gemini/gemini-3.6-flash", CANARY), {"reasoning_effort": "low"}),
    (
        CloudAccount(own(api_base="http://127.0.0.1:1/{API_KEY}", key_variables=("API_KEY",)), (SecretStr(CANARY),)),
        {"api_base": "http://127.0.0.1:1/{API_KEY}"},  # the key itself goes into no address
    ),
]


@pytest.mark.parametrize(("given", "told"), TOLD, ids=lambda given: getattr(getattr(given, "model", ""), "name", ""))
def test_litellm_is_told_model_key_address_and_to_think_little(given: CloudAccount, told: dict[str, Any]):
    parameters = litellm_parameters(given)
    assert parameters["api_key"] == CANARY
    assert {name: parameters.get(name) for name in told} == told


def test_what_thinks_little_unasked_is_told_nothing_of_it():
    told = litellm_parameters(account("gemini/gemini-3.1-flash-lite", CANARY))
    assert set(told) == {"model", "api_key"}


def test_a_server_of_ones_own_may_need_no_key():
    assert litellm_parameters(CloudAccount(own(api_base="http://127.0.0.1:1")))["api_key"] == "none"


def test_what_one_account_is_told_does_not_change_the_next():
    litellm_parameters(account("zai/glm-4.7-flash", CANARY))["extra_body"]["thinking"]["type"] = "enabled"
    assert litellm_parameters(account("zai/glm-4.7-flash", CANARY))["extra_body"]["thinking"]["type"] == "disabled"


SHOWN: list[Callable[[CloudAccount], object]] = [repr, str, "{}".format, lambda a: f"{a!r}", asdict, to_json, vars]


@pytest.mark.parametrize("show", SHOWN)
def test_no_way_of_showing_an_account_shows_its_key(show: Callable[[CloudAccount], object]):
    assert CANARY not in str(show(account("groq/gpt-oss-20b", CANARY)))


def test_an_account_in_a_log_or_an_error_shows_no_key(caplog: pytest.LogCaptureFixture):
    given = account("groq/gpt-oss-20b", CANARY)
    logging.getLogger("hotdesk").warning("%s %r %s", given, given, {"a": given})
    assert "groq/gpt-oss-20b" in caplog.text
    assert CANARY not in caplog.text + str(ValueError(given))


KEPT: list[Callable[[CloudAccount], object]] = [
    *(pickle.dumps, cloudpickle.dumps, copy.copy, copy.deepcopy, json.dumps),
    lambda a: pickle.dumps({"parameters": [a]}),
]


@pytest.mark.parametrize("keep", KEPT)
def test_an_account_refuses_to_be_written_down(keep: Callable[[CloudAccount], object]):
    with pytest.raises(TypeError):
        keep(account("groq/gpt-oss-20b", CANARY))


def here(billion: float) -> Candidate:
    spec = ModelSpec(
        engine="ollama",
        model="m",
        source="m",
        line="gpu",
        context_tokens=4096,
        parameters_billion=billion,
        expected_mib=1,
    )
    return Candidate(tier="heavy", spec=spec, reason="")


def cloud(tier: CloudModel) -> Candidate:
    return Candidate(tier=tier.name, cloud=tier, reason="")


@pytest.mark.parametrize(
    ("candidate", "usd"),
    [
        (cloud(catalogue()["groq/gpt-oss-120b"]), 0.15 + 0.60),
        (cloud(own()), None),  # no price known
        (cloud(own(input_usd=0, output_usd=2)), 2.0),
        (here(7), 0.075 + 0.30),  # the cheapest in all: groq/gpt-oss-20b
        (here(25), 0.07 + 0.40),  # the cheapest that is at least as large: zai/glm-4.7-flash
        (here(110), 0.15 + 0.60),
        (here(400), None),  # none is as large
    ],
)
def test_work_here_would_have_cost_what_the_cheapest_as_large_a_tier_takes(candidate: Candidate, usd: float | None):
    found = list_price_usd(candidate, 1_000_000, 1_000_000)
    assert found == (None if usd is None else pytest.approx(usd))
