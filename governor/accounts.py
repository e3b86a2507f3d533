"""Which cloud tiers an operator has a key for, and what litellm is told of one. A key goes no further than that.

What tiers there are is `governor.tier_catalogue`; documents with keys are read by `blocks.cloud_tier`; the calls are
made by `governor.cloud`.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pydantic import SecretStr

from governor.policy.requests import Candidate, CloudModel
from governor.tier_catalogue import catalogue

# OpenAI's client wants a key even where the server, one of the operator's own, asks for none.
NO_KEY = "none"
# How models that think before they answer are kept from using up the answer's tokens with it: part of their name in
# litellm -> parameters, the first that fits. `allowed_openai_params`: litellm knows of it for groq, cerebras and
# ollama only and refuses it else. Gemini's lite models think least unasked.
LITTLE_THOUGHT: dict[str, dict[str, Any]] = {
    "gpt-oss": {"reasoning_effort": "low", "allowed_openai_params": ["reasoning_effort"]},
    "-flash-lite": {},
    "gemini/gemini-3": {"reasoning_effort": "low"},
    "zai/glm-": {"extra_body": {"thinking": {"type": "disabled"}}},
}


@dataclass(frozen=True, repr=False)
class CloudAccount:
    """A cloud tier and the key to it. Shows no secret when printed, and refuses to be pickled or copied.

    Attributes:
        secrets: values of `model.key_variables`, in that order; the key comes first.
        origin: where the key is from, for people: a document's name, or the variables of the environment.
    """

    model: CloudModel
    secrets: tuple[SecretStr, ...] = ()
    origin: str = field(default="", compare=False)

    def __repr__(self) -> str:
        return f"CloudAccount({self.model.name}, {self.origin or 'no origin'})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"the account of {self.model.name} holds a key: it stays in the process that read it")


def environment_accounts(environ: Mapping[str, str]) -> tuple[CloudAccount, ...]:
    """Every tier of the catalogue whose variables are all set, in the catalogue's order.

    Raises:
        BadInput: the catalogue is wrong.
    """
    found = (environment_account(tier, environ) for tier in catalogue().values())
    return tuple(account for account in found if account is not None)


def environment_account(model: CloudModel, environ: Mapping[str, str]) -> CloudAccount | None:
    """The account of this tier, if its variables are all set."""
    values = [environ.get(name, "").strip() for name in model.key_variables]
    if not values or not all(values):
        return None
    secrets = tuple(SecretStr(value) for value in values)
    return CloudAccount(model, secrets, origin=f"environment: {', '.join(model.key_variables)}")


def litellm_parameters(account: CloudAccount) -> dict[str, Any]:
    """What litellm is told of this tier: model, key, address, and what keeps it from thinking for long.

    The result holds the key in plain text: it goes to litellm and nowhere else. In the address `{VARIABLE}` stands
    for a secret other than the key, such as Cloudflare's account.
    """
    model = account.model
    values = [secret.get_secret_value() for secret in account.secrets]
    parameters: dict[str, Any] = {"model": model.calls, "api_key": values[0] if values else NO_KEY}
    if model.api_base:
        address = model.api_base
        for name, value in zip(model.key_variables[1:], values[1:], strict=False):
            address = address.replace(f"{{{name}}}", value)
        parameters["api_base"] = address
    thought = next((more for part, more in LITTLE_THOUGHT.items() if part in model.calls), {})
    return parameters | deepcopy(thought)


def list_price_usd(candidate: Candidate, tokens_in: int, tokens_out: int) -> float | None:
    """What the work costs at list price, None when no price is known.

    Of a model of this machine: what the cheapest tier of the catalogue that is at least as large takes for it.
    """
    if candidate.cloud is not None:
        return candidate.cloud.usd(tokens_in, tokens_out)
    known = (t.usd(tokens_in, tokens_out) for t in catalogue().values() if _stands_for(t, candidate))
    return min((usd for usd in known if usd is not None), default=None)


def _stands_for(tier: CloudModel, candidate: Candidate) -> bool:
    return tier.parameters_billion >= candidate.parameters_billion
