"""litellm's Routers of this process: which models stand in whose list.

Privacy is a matter of what a Router knows: the one for local calls knows the engine at hand and no address beyond, the
one for `no_training` knows no tier that may train, and for words that stay on this machine none can be had at all.
Each tier is a group of its own, with one deployment: from tier to tier goes `governor.asking`, never litellm. Who calls
them is `governor.inference`; litellm is passed in.
"""

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from governor.accounts import CloudAccount, litellm_parameters
from governor.errors import Private
from governor.policy.requests import CloudModel, Privacy, Span
from governor.policy.tokens import TEMPLATE_TOKENS, estimated_tokens

LOCAL = "local"
# To litellm nothing costs anything, whatever a model of the same name costs elsewhere: what is paid for is counted by
# `governor.ledger`, at the catalogue's price. It stands beside the model's parameters, not among them: there litellm
# writes it into its price map again at every call, and rebuilds an index of all 4,279 names (1 of 10 ms, measured).
FREE = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
# Nothing goes from one model to another or a second time.
ALONE = {"num_retries": 0, "max_fallbacks": 0}
FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
# litellm's own, for what names no Retry-After. It shares none with other processes and has none for a group of one:
# `governor.tier_states` has both.
COOLDOWN_SECONDS = 20.0
# A tier that litellm cannot make anything of is left out: it must not keep the others from being called.
OF_THE_CLOUD = {
    "enable_pre_call_checks": True,
    "cooldown_time": COOLDOWN_SECONDS,
    "ignore_invalid_deployments": True,
}
# An agent talks to one or two engines, and each load of a model gives it a new address.
MOST_LOCAL = 4

_lock = threading.Lock()
_local: "OrderedDict[tuple[int, str], Any]" = OrderedDict()
_cloud: dict[tuple[int, Privacy], "tuple[dict[str, CloudAccount], Any]"] = {}


def local_router(litellm: Any, parameters: dict[str, Any]) -> Any:
    """A Router whose one group, `LOCAL`, is the engine that `parameters` points at."""
    key = os.getpid(), json.dumps(parameters, sort_keys=True)
    with _lock:
        if key in _local:
            _local.move_to_end(key)
            return _local[key]
        deployment = {"model_name": LOCAL, "litellm_params": {**parameters}, "model_info": {"id": LOCAL, **FREE}}
        _local[key] = _made(litellm, [deployment], disable_cooldowns=True)
        while len(_local) > MOST_LOCAL:
            _local.popitem(last=False)[1].discard()
        return _local[key]


def cloud_router(litellm: Any, privacy: Privacy, accounts: Iterable[CloudAccount]) -> Any:
    """A Router of the tiers that may see words of this privacy, with a group of its name for each of these accounts.

    Raises:
        Private: there is no such Router, or a tier among the accounts that must not be in it.
    """
    wanted = {account.model.name: account for account in accounts}
    for account in wanted.values():
        if not account.model.may_see(privacy):
            raise private_error(privacy, account.model)
    if privacy is Privacy.LOCAL_ONLY:
        raise private_error(privacy, None)
    with _lock:
        known, router = _cloud.get((os.getpid(), privacy), ({}, None))
        if router is None or any(known.get(name) != account for name, account in wanted.items()):
            if router is not None:
                router.discard()
            known = {**known, **wanted}
            deployments = [_deployment(account) for account in known.values()]
            router = _made(litellm, deployments, **OF_THE_CLOUD)
            _cloud[os.getpid(), privacy] = known, router
        return router


def takes_schema(litellm: Any, model: CloudModel) -> bool:
    """Whether it can be given a schema: the catalogue says so and litellm knows how."""
    return model.json_schema and _knows_schema(litellm, model.calls)


@lru_cache(maxsize=64)
def _knows_schema(litellm: Any, calls: str) -> bool:
    name, provider, _, _ = litellm.get_llm_provider(calls)
    known = litellm.get_supported_openai_params(model=name, custom_llm_provider=provider)
    return "response_format" in (known or ())


def private_error(privacy: Privacy, model: CloudModel | None) -> Private:
    """That words of this privacy were about to go there."""
    tier = model.name if model else "the cloud"
    stays = "its words stay on this machine"
    why = stays if privacy is Privacy.LOCAL_ONLY or model is None else f"{tier} is not known to train on no prompts"
    return Private(
        f"A prompt was about to go to {tier}, and may not: {why}.",
        means="It went nowhere.",
        remedy="Let a model of this machine do it, or let its agent say `public` or `no_training` where that is true.",
        tier=tier,
        privacy=privacy.value,
    )


def _made(litellm: Any, deployments: list[dict[str, Any]], **settings: Any) -> Any:
    router = litellm.Router(model_list=deployments, **ALONE, **settings)
    for name in FALLBACKS:  # given as empty they become those of the process, which serve even for groups unknown
        setattr(router, name, [])
    router.increment_deployment_usage_for_response = _count_nothing
    router.get_router_model_info = _looked_up_once(router.get_router_model_info)
    router._acount_pre_call_check_tokens = _estimated
    return router


async def _estimated(*, messages: Iterable[dict[str, str]] | None = None, **_: Any) -> int:
    """Tokens as the rest of the project counts them. litellm counts with the vocabulary of another model, which takes
    40 MiB of each process (measured).
    """
    return TEMPLATE_TOKENS + sum(estimated_tokens(message["content"]) for message in messages or ())


def _looked_up_once(look_up: Callable[..., Any]) -> Callable[..., Any]:
    """What litellm knows of a deployment's model: it copies it anew at three places of each call, 1 ms (measured)."""
    known: dict[str, Any] = {}

    def found(deployment: Any, received_model_name: str, id: str | None = None) -> Any:
        key = str(id or (deployment.get("model_info") or {}).get("id"))
        if key not in known:
            known[key] = look_up(deployment, received_model_name, id)
        return known[key]

    return found


async def _count_nothing(*_: Any, **__: Any) -> None:
    """litellm's count of tokens, for a choice among deployments that a group of one does not have: 1 ms of each call
    (measured). It counts the requests of a minute apart from this.
    """


def _deployment(account: CloudAccount) -> dict[str, Any]:
    model = account.model
    return {
        "model_name": model.name,
        "litellm_params": {**litellm_parameters(account), **_minute_limits(model)},
        "model_info": {"id": model.name, "max_input_tokens": model.context_tokens, **FREE},
    }


def _minute_limits(model: CloudModel) -> dict[str, int]:
    """litellm's own: of this process alone, a second fence behind the ledger's."""
    units = {"requests": "rpm", "tokens": "tpm"}
    return {units[one.unit]: one.amount for one in model.allowances if one.span is Span.MINUTE}
