"""The only door to litellm: constrained, streamed completions and vectors, from sync code.

litellm is safe only through `acompletion` of a Router that knows no wrong place (`governor.routers`); everything else
is walled up (`governor.call_walls`) and what goes over the wire is watched (`governor.call_wire`). Every call streams:
a client that goes away from a stream frees its engine slot in 0.34 s, from anything else never. Who may call, and
whether an answer is right, is decided elsewhere (`governor.desk`, `governor.cloud`, `governor.answers`).
"""

import contextlib
import gc
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import httpx

from governor import call_arguments, routers
from governor.accounts import CloudAccount
from governor.call_errors import (
    AnswerTooLong,
    CloudFailure,
    Went,
    cloud_failure,
    half_an_answer,
    local_error,
    local_failure,
)
from governor.call_loop import Unwanted, run, twice
from governor.call_walls import wall_off
from governor.call_wire import WIRE, WIRE_BYTES_AROUND, Wire, place_of
from governor.errors import HotdeskError
from governor.policy.requests import ModelRequest, Privacy

# Set before the import: no price map and no header list from the network, no stray .env file, no word in a log.
QUIET_LITELLM = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "CRITICAL",
    "LITELLM_DISABLE_BUG_REPORT_LINK": "true",
}
WARM_UP_SECONDS = 10.0
# Nobody listens on the port "discard" of the loopback address: a call that gets as far as the network.
NOBODY = {"model": "openai/warm-up", "api_base": "http://127.0.0.1:9/v1", "api_key": "none"}
# What ends an answer that is not all of it, nor cut off by its cap.
WITHHELD = frozenset({"content_filter", "error"})


@dataclass(frozen=True)
class Completion:
    """What the model said and what it cost.

    Attributes:
        finish_reason: `stop`, or `length` when the cap or the context cut it off.
        tokens_in, tokens_out: as counted by who answered, else by litellm's own count; 0 where neither did.
        first_token_seconds: from the call to the first text or thought: both count as tokens; 0.0 when none came.
    """

    text: str
    finish_reason: str
    tokens_in: int
    tokens_out: int
    first_token_seconds: float
    seconds: float


@dataclass(frozen=True)
class Embedded:
    """One vector for each text, all of one length, in the order of the texts."""

    vectors: list[list[float]]
    tokens_in: int
    seconds: float


def warm_up(clouds: Sequence[CloudAccount] = ()) -> None:
    """Pay for the import (3-4 CPU-seconds) and a first call before sitting down; free when paid.

    Args:
        clouds: the tiers that may be called later; their Routers are made now.
    """
    _paid(os.getpid())
    for privacy in (Privacy.NO_TRAINING, Privacy.PUBLIC):
        if able := [account for account in clouds if account.model.may_see(privacy)]:
            routers.cloud_router(_litellm(), privacy, able)


def complete(
    request: ModelRequest,
    parameters: dict[str, Any],
    *,
    deadline_seconds: float,
    temperature: float = 0.0,
    unwanted: Callable[[], bool] = lambda: False,
) -> Completion:
    """One answer to `request` from the engine that `parameters` points at (`Engine.litellm_parameters`).

    With `choices` the text is exactly one of them, with `json_schema` it is JSON (cut off when
    `finish_reason` is `length`). Past the deadline, on a signal, or once `unwanted` says so, the stream is
    closed first.

    Raises:
        Unwanted: `unwanted`, which is asked twice a second, said so.
        BadInput: the prompt does not fit the model's context.
        ModelFailed: no answer in time, or an error; data `retryable`: whether the same call may succeed.
    """
    litellm, engine = _litellm(), {**parameters}
    choices_as = engine.pop("choices_as", "schema")
    arguments = call_arguments.local_arguments(request, temperature, choices_as)
    router, most = routers.local_router(litellm, engine), call_arguments.most_characters(request)
    place, most_bytes = place_of(engine["api_base"]), call_arguments.most_wire_bytes(request)

    async def once() -> Completion:
        WIRE.set(Wire(place, most_bytes))
        return await _streamed(router.acompletion(model=routers.LOCAL, **arguments), most)

    try:
        said = run(twice(once), deadline_seconds, unwanted)
    except _of_litellm() as error:
        raise local_error(litellm, error, parameters, deadline_seconds) from error
    return said if request.choices is None else replace(said, text=call_arguments.plain_label(said.text))


def complete_in_cloud(
    request: ModelRequest,
    account: CloudAccount,
    *,
    deadline_seconds: float,
    temperature: float = 0.0,
    unwanted: Callable[[], bool] = lambda: False,
    may_go: Callable[[], bool] = lambda: True,
) -> Completion:
    """One answer from a tier of the cloud, asked once. For `governor.cloud` alone, which reserves the call before it.

    `may_go` is asked right before anything is sent.

    Raises:
        Private: the words may not go there; they went nowhere.
        Unwanted: as in `complete`. CloudFailure: no answer; with what became of the call.
    """
    litellm, model = _litellm(), account.model
    router = routers.cloud_router(litellm, request.allowed, [account])
    wire, most = Wire(None, call_arguments.most_wire_bytes(request), may_go), call_arguments.most_characters(request)

    async def once() -> Completion:
        WIRE.set(wire)
        takes_schema = routers.takes_schema(litellm, model)
        arguments = call_arguments.cloud_arguments(request, temperature, model.calls, takes_schema=takes_schema)
        return await _streamed(router.acompletion(model=model.name, **arguments), most)

    try:
        said = run(once(), deadline_seconds, unwanted)
    except (Unwanted, HotdeskError):
        raise
    except Exception as error:  # litellm lets out whatever its providers raise, of no common base
        failure = cloud_failure(litellm, error, wire, deadline_seconds)
    else:
        failure = _withheld_or_half(said, wire)
        if failure is None:
            return _plain(request, said)
    # Out of the except: what litellm raised quotes prompts and keys, and a log would print it below ours.
    raise failure


def _withheld_or_half(said: Completion, wire: Wire) -> CloudFailure | None:
    if said.finish_reason in WITHHELD:
        return CloudFailure(Went.WITHHELD, "withheld its answer")
    return half_an_answer(wire) if wire.ended is False else None


def embed(
    texts: Sequence[str],
    parameters: dict[str, Any],
    *,
    deadline_seconds: float,
    unwanted: Callable[[], bool] = lambda: False,
) -> Embedded:
    """One vector for each text, from the engine that `parameters` points at.

    Raises:
        Unwanted, BadInput: as in `complete`.
        ModelFailed: no vectors in time, an error, or what came is not one vector of one length for each text.
    """
    litellm = _litellm()
    engine = {name: value for name, value in parameters.items() if name != "choices_as"}
    engine["model"] = engine["model"].replace("ollama_chat/", "ollama/")
    router, arguments = routers.local_router(litellm, engine), call_arguments.embed_arguments(texts, engine["model"])
    place = place_of(engine["api_base"])
    most_bytes = WIRE_BYTES_AROUND + len(texts) * call_arguments.BYTES_PER_VECTOR

    async def once() -> Embedded:
        WIRE.set(Wire(place, most_bytes))
        started_s = time.monotonic()
        answer = await router.aembedding(model=routers.LOCAL, **arguments)
        vectors = [one["embedding"] for one in sorted(answer.data, key=lambda one: one["index"])]
        tokens = getattr(answer.usage, "prompt_tokens", 0) or 0
        return Embedded(vectors, tokens, time.monotonic() - started_s)

    try:
        embedded = run(twice(once), deadline_seconds, unwanted)
    except _of_litellm() as error:
        raise local_error(litellm, error, parameters, deadline_seconds) from error
    if (problem := call_arguments.vectors_problem(embedded.vectors, len(texts))) is not None:
        raise local_failure(parameters, problem, retryable=False)
    return embedded


def preload() -> None:
    """Import litellm now, for the processes that are forked from this one."""
    _litellm()


@lru_cache(maxsize=1)
def _litellm() -> Any:
    os.environ.update(QUIET_LITELLM)
    with _nothing_collected():
        import litellm

    wall_off(litellm)
    return litellm


def _of_litellm() -> tuple[type[Exception], ...]:
    """What litellm raises of an engine's failings."""
    from openai import OpenAIError  # base of nearly all that litellm raises; a dependency of it

    return OpenAIError, httpx.HTTPError, TimeoutError, AnswerTooLong


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """An import makes 400,000 objects that stay: to look for garbage among them, then and later, took 1.9 s of an
    agent's 5.9 s of CPU (measured).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


@lru_cache(maxsize=1)
def _paid(_pid: int) -> None:
    request = ModelRequest.model_validate({"kind": "write", "prompt": "warm-up", "max_tokens": 1})
    with contextlib.suppress(HotdeskError):
        complete(request, NOBODY, deadline_seconds=WARM_UP_SECONDS)


async def _streamed(asked: Awaitable[Any], most_characters: int) -> Completion:
    started_s = time.monotonic()
    first_token_seconds, parts, finish, usage, characters = 0.0, list[str](), "stop", None, 0
    stream = await asked
    try:
        async for chunk in stream:
            usage = getattr(chunk, "usage", None) or usage
            for choice in chunk.choices:
                said, thought = choice.delta.content or "", getattr(choice.delta, "reasoning_content", None) or ""
                if said or thought:
                    first_token_seconds = first_token_seconds or time.monotonic() - started_s
                characters += len(said) + len(thought)
                parts.append(said)
                finish = choice.finish_reason or finish
            if characters > most_characters:
                raise AnswerTooLong
    finally:
        await stream.aclose()
    return Completion(
        text=call_arguments.whole("".join(parts)),
        finish_reason=finish,
        tokens_in=getattr(usage, "prompt_tokens", 0) or 0,
        tokens_out=getattr(usage, "completion_tokens", 0) or 0,
        first_token_seconds=first_token_seconds,
        seconds=time.monotonic() - started_s,
    )


def _plain(request: ModelRequest, said: Completion) -> Completion:
    """Labels and JSON as they are asked for, without what providers put around them."""
    if request.choices is not None:
        return replace(said, text=call_arguments.plain_label(call_arguments.unfenced(said.text)))
    return said if request.json_schema is None else replace(said, text=call_arguments.unfenced(said.text))
