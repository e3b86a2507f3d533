"""The shipped catalogue: every entry is one that the router, the ledger and litellm can use; a typo is told of."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from governor import inference
from governor.accounts import CloudAccount, litellm_parameters
from governor.errors import BadInput
from governor.policy.requests import CloudModel, Privacy
from governor.tier_catalogue import FILE, Provider, catalogue, read_catalogue, the_catalogue

TIERS = sorted(catalogue().values(), key=lambda tier: tier.name)
PROVIDERS = the_catalogue().providers
by_name = pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
by_provider = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=list(PROVIDERS))


@by_provider
def test_every_provider_says_where_its_figures_are_from_and_since_when(provider: Provider):
    assert provider.seen <= the_catalogue().as_of
    assert provider.source.startswith("https://")
    assert provider.note
    assert ZoneInfo(provider.zone)
    assert all(name.isupper() and name.isidentifier() for name in provider.keys)


@by_name
def test_no_tier_gives_without_end(tier: CloudModel):
    assert tier.allowances


@by_name
def test_every_tier_has_a_list_price(tier: CloudModel):
    usd = tier.usd(1_000_000, 1_000_000)
    assert usd is not None
    assert 0.1 < usd < 20


@by_name
def test_only_who_says_that_it_does_not_train_sees_such_work(tier: CloudModel):
    assert tier.may_see(Privacy.NO_TRAINING) == (tier.trains == "no")
    assert not tier.may_see(Privacy.LOCAL_ONLY)


def test_the_providers_are_those_that_still_answer():
    assert "github" not in PROVIDERS  # 410 since 2026-07-30
    assert not [tier.name for tier in TIERS if tier.provider == "groq" and "llama" in tier.name]  # until 2026-08-16


def test_work_that_must_not_train_goes_to_few():
    """Everybody else trains, or does not say, or says two things."""
    assert {name for name, provider in PROVIDERS.items() if provider.trains == "no"} == {"groq", "cerebras"}


def test_what_may_be_charged_for_is_not_free():
    paid = {name for name, provider in PROVIDERS.items() if not provider.free}
    assert paid == {"cerebras", "sambanova"}  # both want a means of payment on file


def test_a_key_that_may_be_billed_unasked_is_not_free_and_the_reason_is_told():
    billed = {name for name, provider in PROVIDERS.items() if provider.bills_beyond}
    assert billed == {"gemini", "mistral", "cohere", "cloudflare"}
    assert not [tier.name for tier in TIERS if tier.free and tier.provider in billed]


def test_one_key_of_the_environment_is_enough_for_groq_and_whom_no_key_costs_anything():
    assert {tier.provider for tier in TIERS if tier.free} == {"groq", "openrouter", "nvidia_nim", "zai", "ollama"}


@pytest.fixture(scope="module")
def litellm() -> Any:
    inference.warm_up()  # with the settings that keep it off the network
    return importlib.import_module("litellm")


@pytest.mark.filterwarnings("ignore:Item:UserWarning")  # pydantic of litellm's own types
@by_name
def test_litellm_knows_the_provider_and_every_parameter(tier: CloudModel, litellm: Any):
    """A parameter that it does not know of a provider would be refused at the first call."""
    parameters = litellm_parameters(CloudAccount(tier))
    name, provider, _, _ = litellm.get_llm_provider(parameters.pop("model"))
    assert provider == tier.calls.partition("/")[0]
    for ours in ("api_key", "api_base"):
        parameters.pop(ours, None)
    wanted = {"max_tokens": 16, "temperature": 0.0, "stream": True}
    if tier.json_schema:
        wanted["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    assert litellm.utils.get_optional_params(model=name, custom_llm_provider=provider, **wanted, **parameters)


# What the catalogue has otherwise for a reason: the context of a trial, the price that others take for the model.
OWN_WORD = {"cerebras/gpt-oss-120b", "cerebras/gemma-4-31b", "zai/glm-4.7-flash"}


def test_contexts_and_prices_are_those_of_litellms_map_where_it_has_them(litellm: Any):
    # The map as it is shipped: a Router writes into the one that litellm holds.
    shipped = Path(litellm.__file__).with_name("model_prices_and_context_window_backup.json")
    prices_of, compared = json.loads(shipped.read_text(encoding="utf-8")), 0
    for tier in (tier for tier in TIERS if tier.name not in OWN_WORD):
        known = prices_of.get(tier.calls) or prices_of.get(tier.calls.partition("/")[2])
        if known is None:
            continue  # a name that changes with the day, or of a provider that the map has no prices of
        lengths, prices = (tier.context_tokens, tier.most_output_tokens), (tier.input_usd, tier.output_usd)
        assert lengths == (known["max_input_tokens"], known["max_output_tokens"]), tier.name
        map_prices = (known["input_cost_per_token"] * 1e6, known["output_cost_per_token"] * 1e6)
        assert prices == pytest.approx(map_prices), tier.name
        compared += 1
    assert compared >= 8


TYPOS: list[tuple[Callable[[str], str], tuple[str, ...]]] = [
    (lambda text: text.replace("keys: [GROQ", "kees: [GROQ"), ("providers.groq.ke",)),
    (
        lambda text: text.replace("{minute: 5, day: 20}", "{minuet: 5}"),
        ("providers.gemini", "gemini-3.6-flash", "minuet"),
    ),
    (lambda text: text.replace("America/Los_Angeles", "America/Los_Angles"), ("providers.gemini.zone", "no time zone")),
    (lambda text: text.replace('trains: "no"', "trains: no", 1), ("providers.groq.trains",)),
    (lambda text: text.replace("week: 300", "week: -1"), ("providers.ollama.shared", "week")),
    (lambda text: text.replace("  cohere:", "  co here:"), ("providers", "co here")),
    (lambda text: text + "\n]", ("free_tiers.yaml",)),
]


@pytest.mark.parametrize(("spoil", "said"), TYPOS)
def test_a_typo_is_told_of_with_file_provider_and_key(
    spoil: Callable[[str], str], said: tuple[str, ...], tmp_path: Path
):
    written, spoiled = FILE.read_text(encoding="utf-8"), tmp_path / FILE.name
    spoiled.write_text(spoil(written), encoding="utf-8")
    assert spoiled.read_text(encoding="utf-8") != written
    with pytest.raises(BadInput) as refused:
        read_catalogue(spoiled)
    assert all(part in refused.value.happened for part in (FILE.name, *said)), refused.value.happened


def test_a_missing_catalogue_is_bad_input(tmp_path: Path):
    with pytest.raises(BadInput):
        read_catalogue(tmp_path / "none.yaml")
