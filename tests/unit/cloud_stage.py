"""What the tests of cloud calls share: accounts of fake tiers, requests with a word to look for, what was noted."""

import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr
from sqlalchemy import select

from governor import call_loop, cloud, inference, tier_states
from governor.accounts import CloudAccount
from governor.call_wire import WIRE, Wire
from governor.policy.requests import CloudModel, ModelRequest
from governor.state.sessions import reading
from governor.state.tiers import AllowanceUse, TierState
from tests.fakes.cloud_texts import KEY
from tests.fakes.cloud_tier import FakeCloudTier

SECRET = "zebra-4711"
MESSAGES = [{"role": "user", "content": SECRET}]
# What the catalogue calls, each spoken by litellm in its own way.
CALLS = {
    "groq": "groq/openai/gpt-oss-120b",
    "cerebras": "cerebras/gpt-oss-120b",
    "openrouter": "openrouter/openrouter/free",
    "mistral": "mistral/mistral-small-2603",
    "gemini": "gemini/gemini-3.1-flash-lite",
    "nvidia_nim": "nvidia_nim/openai/gpt-oss-120b",
    "zai": "zai/glm-4.7-flash",
    "own": "openai/whatever",
}
TWO_WAYS = ("groq", "cerebras", "gemini")  # of litellm to talk, and both dialects


def cloud_account(address: str | None, name: str = "groq/m", key: str = KEY, **more: Any) -> CloudAccount:
    provider = name.partition("/")[0]
    known = {
        "name": name,
        "calls": CALLS.get(provider, ""),
        "api_base": address,
        "key_variables": ("A_KEY",),
        "context_tokens": 8192,
        "parameters_billion": 100,
        "trains": "no",
        "free": True,
    }
    return CloudAccount(CloudModel.model_validate({**known, **more}), (SecretStr(key),))


def account(fake: FakeCloudTier | None, provider: str = "groq", **more: Any) -> CloudAccount:
    """One name for each provider: a Router that knew the tiers of all tests would grow with each of them."""
    return cloud_account(fake.address if fake else None, f"{provider}/m", **more)


def request(**more: Any) -> ModelRequest:
    asked = {"kind": "write", "prompt": f"Say hello to {SECRET}.", "privacy": "no_training", "max_tokens": 64}
    return ModelRequest.model_validate({**asked, **more})


def ask(
    one: CloudAccount, asked: ModelRequest | None = None, *, deadline_seconds: float = 10.0, **terms: Any
) -> inference.Completion:
    given = cloud.Terms(agent="test", deadline_seconds=deadline_seconds, **terms)
    return cloud.ask_cloud(asked or request(), one, terms=given)


def called(work: Callable[[], Awaitable[Any]], wire: Wire | None = None) -> str:
    """What comes of a call of a Router, its whole stream read."""

    async def read() -> str:
        WIRE.set(wire or Wire(None, 10**6))
        stream = await work()
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    return call_loop.run(read(), 10, lambda: False)


def uses() -> list[tuple[str, int, float]]:
    with reading() as session:
        rows = session.scalars(select(AllowanceUse).order_by(AllowanceUse.id)).all()
        return [(row.state, row.tokens, row.usd) for row in rows]


def closed(one: CloudAccount) -> tier_states.Closed | None:
    return tier_states.closed(datetime.now(UTC)).get(one.model.name)


def failures(one: CloudAccount) -> int:
    with reading() as session:
        row = session.get(TierState, one.model.name)
        return row.failures if row else 0


def everything_said(error: BaseException) -> str:
    """As a log would print it, with all that is kept below the error."""
    chain, link = [], error
    while link is not None:
        chain += [repr(link), repr(vars(link))]
        link = link.__cause__ or link.__context__
    return "".join(traceback.format_exception(error)) + "".join(chain)
