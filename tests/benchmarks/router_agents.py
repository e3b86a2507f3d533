"""The processes of `router_overhead`: the tier, who measures single calls, and agents that want an answer each.

Each is forked from one process that imported litellm and the governor once; see README.md for what that means.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from governor import cloud, inference, ledger
from governor.accounts import CloudAccount
from governor.errors import ModelFailed, TierShut
from governor.policy.requests import Allowance, CloudModel, ModelRequest, Span
from tests.fakes.cloud_tier import FakeCloudTier, allows, says

PROMPT = "Say in one sentence what a desk is for. " * 8
MESSAGES = [{"role": "user", "content": PROMPT}]
WARM_UP_ROUNDS = 20
# Calls go round as many tiers as the catalogue has: no real one gives more than 60 a minute, and each counts its own.
TIERS = 16
# Who is told no time to wait.
WAITS_SECONDS = 5.0
TIER = "groq/fake"
CALLS = "groq/openai/gpt-oss-120b"


@dataclass(frozen=True)
class Shape:
    """What the tier allows a minute, what it is thought to allow, how far apart the agents come, how long they have."""

    allowed: int
    told: int
    apart_seconds: float
    seconds: float


@dataclass
class Got:
    """What one agent came to."""

    answers: int = 0
    refusals: int = 0
    answered_after_seconds: float | None = None
    pss_mib: float = 0.0
    errors: list[str] = field(default_factory=list)


def tier(pipe: Connection, allowed: int | None) -> None:
    """Serve until told to end; says its address, then how often it was asked and how often it refused."""
    scene = says("A desk ", "is for ", "work.") if allowed is None else allows(allowed)
    with FakeCloudTier(scene) as fake:
        pipe.send(fake.address)
        pipe.recv()
        pipe.send({"calls": fake.hits, "paid_429": fake.refused})


def account(address: str, *, a_minute: int, name: str = TIER) -> CloudAccount:
    """The tier as an operator describes it: with limits as Groq has them, and the given one of a minute."""
    allowances = (
        Allowance(unit="requests", span=Span.MINUTE, amount=a_minute),
        Allowance(unit="tokens", span=Span.MINUTE, amount=10_000_000),
        Allowance(unit="requests", span=Span.DAY, amount=1_000_000, slides=True),
        Allowance(unit="tokens", span=Span.DAY, amount=1_000_000_000, slides=True),
    )
    known = {"name": name, "calls": CALLS, "api_base": address, "key_variables": ("A_KEY",), "trains": "no"}
    known |= {"context_tokens": 8192, "parameters_billion": 100, "free": True, "allowances": allowances}
    return CloudAccount(CloudModel.model_validate(known), (SecretStr("k"),))


def request() -> ModelRequest:
    """A short one."""
    asked = {"kind": "write", "prompt": PROMPT, "privacy": "no_training", "max_tokens": 64}
    return ModelRequest.model_validate(asked)


def our_calls(pipe: Connection, address: str, rounds: int) -> None:
    """Milliseconds of single calls of ours and of httpx alone, by turns."""
    asked = request()
    accounts = [account(address, a_minute=1_000_000, name=f"{TIER}{number}") for number in range(TIERS)]
    inference.warm_up(accounts)
    terms = cloud.Terms(agent="benchmark", deadline_seconds=20)
    turns = itertools.cycle(accounts)
    engine = {"model": "openai/m", "api_base": address, "api_key": "k"}
    ways: dict[str, Callable[[], Any]] = {
        "raw_httpx": raw(address),
        "ask_cloud": lambda: cloud.ask_cloud(asked, next(turns), terms=terms),
        "complete_in_cloud": lambda: inference.complete_in_cloud(asked, accounts[0], deadline_seconds=20),
        "complete": lambda: inference.complete(asked, engine, deadline_seconds=20),
    }
    pipe.send(_by_turns(ways, rounds))


def plain_calls(pipe: Connection, address: str, rounds: int) -> None:
    """The same of litellm's Router as its documentation has it."""
    loop, router = asyncio.new_event_loop(), plain_router(address, None)
    ways: dict[str, Callable[[], Any]] = {
        "raw_httpx": raw(address),
        "plain_router": lambda: loop.run_until_complete(_read(router)),
    }
    pipe.send(_by_turns(ways, rounds))


def _by_turns(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(WARM_UP_ROUNDS + rounds):
        for name, way in ways.items():
            began_s = time.perf_counter()
            way()
            if number >= WARM_UP_ROUNDS:
                taken[name].append(1000 * (time.perf_counter() - began_s))
    return taken


def raw(address: str) -> Callable[[], None]:
    """A call of the same request, streamed, by httpx alone."""
    client = httpx.Client(trust_env=False)
    body = {"model": "m", "messages": MESSAGES, "max_tokens": 64, "temperature": 0.0, "stream": True}

    def call() -> None:
        with client.stream("POST", f"{address}/chat/completions", json=body) as response:
            for _ in response.iter_lines():
                pass

    return call


def our_agent(pipe: Connection, address: str, shape: Shape, number: int) -> None:
    """Wants one answer; waits as long as it is told and asks again, until its time is over."""
    asked, one, got = request(), account(address, a_minute=shape.told), Got()
    inference.warm_up([one])
    ledger.lefts([one.model], datetime.now(UTC))  # as the route's facts do
    terms = cloud.Terms(agent="benchmark", deadline_seconds=20)
    began_s = _at_the_gate(pipe, number * shape.apart_seconds)
    while not got.answers and (left_s := began_s + shape.seconds - time.monotonic()) > 0:
        try:
            cloud.ask_cloud(asked, one, terms=terms)
            got.answers, got.answered_after_seconds = 1, time.monotonic() - began_s
        except TierShut as shut:
            got.refusals += 1
            waits = (shut.data["until"] - datetime.now(UTC)).total_seconds()
            time.sleep(max(0.05, min(waits, left_s)))
        except ModelFailed as failed:
            got.errors.append(failed.happened)
            time.sleep(min(WAITS_SECONDS, left_s))
    got.pss_mib = pss_mib()
    pipe.send(got)


def plain_agent(pipe: Connection, address: str, shape: Shape, number: int) -> None:
    """The same with a Router of its own, which is told the limit of a minute too."""
    router, got, loop = plain_router(address, shape.told), Got(), asyncio.new_event_loop()
    with contextlib.suppress(Exception):  # a first call to nobody, as ours makes
        loop.run_until_complete(_read(plain_router("http://127.0.0.1:9", None, num_retries=0)))
    began_s = _at_the_gate(pipe, number * shape.apart_seconds)
    while not got.answers and (left_s := began_s + shape.seconds - time.monotonic()) > 0:
        try:
            loop.run_until_complete(asyncio.wait_for(_read(router), left_s))
            got.answers, got.answered_after_seconds = 1, time.monotonic() - began_s
        except Exception as error:  # of whatever kind: what is told of a wait stands in its headers
            got.refusals += 1
            got.errors.append(type(error).__name__)
            headers = getattr(error, "litellm_response_headers", None) or {}
            waits = float(headers.get("retry-after", WAITS_SECONDS))
            time.sleep(max(0.0, min(waits, began_s + shape.seconds - time.monotonic())))
    got.pss_mib = pss_mib()
    pipe.send(got)


def plain_router(address: str, a_minute: int | None, **more: Any) -> Any:
    """litellm's own defaults: two retries, which heed Retry-After, cooldowns, checks before a call."""
    from litellm.router import Router

    parameters = {"model": CALLS, "api_key": "k", "api_base": address, "rpm": a_minute}
    return Router(model_list=[{"model_name": TIER, "litellm_params": parameters}], enable_pre_call_checks=True, **more)


async def _read(router: Any) -> None:
    async for _ in await router.acompletion(model=TIER, messages=MESSAGES, max_tokens=64, temperature=0.0, stream=True):
        pass


def _at_the_gate(pipe: Connection, then_seconds: float) -> float:
    """When all of them began; it waits for its own turn to come."""
    pipe.send("ready")
    pipe.recv()
    began_s = time.monotonic()
    time.sleep(then_seconds)
    return began_s


def pss_mib() -> float:
    """This process's share of the memory that it and others use."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
