"""The only door to litellm: one constrained, streamed completion at a time, from sync code.

litellm is safe only through `acompletion` (its sync `completion` ignores tags and filters). Its clients
belong to one event loop, so a loop of our own runs in a thread for the life of the process. Every call
streams: a client that goes away from a stream frees its engine slot in 0.34 s, from anything else never.
Who may call, and whether an answer is right, is decided elsewhere (`governor.desk`, `governor.asking`).
"""

import asyncio
import contextlib
import gc
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpx

from governor.errors import BadInput, HotdeskError, ModelFailed
from governor.policy.facts import ModelRequest

# Set before the import: no price map and no header list from the network, no stray .env file.
QUIET_LITELLM = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}
# Local models cost nothing, whatever a model of the same name costs elsewhere.
FREE = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
# A stream is closed within 0.34 s of the cancel (measured); past this the loop itself is stuck.
LATE_SECONDS = 5.0
WARM_UP_SECONDS = 10.0
# How soon a call ends whose answer nobody wants any more.
UNWANTED_LOOK_SECONDS = 0.5
# Nobody listens on the port "discard" of the loopback address: a call that gets as far as the network.
NOBODY = {"model": "openai/warm-up", "api_base": "http://127.0.0.1:9/v1", "api_key": "none"}


class Unwanted(Exception):
    """Nobody wants the answer any more; the call was ended."""


@dataclass(frozen=True)
class Completion:
    """What the model said and what it cost.

    Attributes:
        finish_reason: `stop`, or `length` when the cap or the context cut it off.
        first_token_seconds: from the call to the first text or thought: both count as tokens; 0.0 when none came.
    """

    text: str
    finish_reason: str
    tokens_in: int
    tokens_out: int
    first_token_seconds: float
    seconds: float


def warm_up() -> None:
    """Pay for the import (3-4 CPU-seconds) and a first call before sitting down; free when paid."""
    _paid(os.getpid())


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
    litellm = _litellm()
    from openai import OpenAIError  # base of all that litellm raises; a dependency of it

    work = _within(deadline_seconds, _twice(litellm, _arguments(request, parameters, temperature)))
    try:
        running = asyncio.run_coroutine_threadsafe(work, _loop(os.getpid()))
        said = _finished(running, deadline_seconds, unwanted)
    except (OpenAIError, httpx.HTTPError, TimeoutError) as error:
        raise _explained(litellm, error, parameters, deadline_seconds) from error
    return said if request.choices is None else _plain_label(said)


def choices_grammar(choices: tuple[str, ...]) -> str:
    """GBNF (llama.cpp's grammar format) that admits exactly one of the labels."""
    return "root ::= " + " | ".join(f'"{"".join(map(_gbnf, choice))}"' for choice in choices)


def _gbnf(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"


@lru_cache(maxsize=1)
def _litellm() -> Any:
    os.environ.update(QUIET_LITELLM)
    with _nothing_collected():
        import litellm

    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)
    # One client for every engine child. No proxy of the environment: engines are on this machine.
    # No kept connections: the engine closes them after seconds, and a call on such a one fails.
    litellm.aclient_session = httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
    return litellm


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
def _loop(_pid: int) -> asyncio.AbstractEventLoop:
    """The event loop of this process (a fork gets its own)."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="inference", daemon=True).start()
    return loop


@lru_cache(maxsize=1)
def _paid(_pid: int) -> None:
    request = ModelRequest.model_validate({"kind": "write", "prompt": "warm-up", "max_tokens": 1})
    with contextlib.suppress(HotdeskError):
        complete(request, NOBODY, deadline_seconds=WARM_UP_SECONDS)


def _finished(running: "Future[Completion]", deadline_seconds: float, unwanted: Callable[[], bool]) -> Completion:
    """Wait for it; on a signal or any other error, cancel it, which closes the stream."""
    ends_s = time.monotonic() + deadline_seconds + LATE_SECONDS
    try:
        while not wait((running,), min(UNWANTED_LOOK_SECONDS, max(0.0, ends_s - time.monotonic()))).done:
            if unwanted():
                raise Unwanted
            if time.monotonic() >= ends_s:
                raise TimeoutError
        return running.result()
    except BaseException:
        running.cancel()
        raise


async def _within(seconds: float, work: Coroutine[Any, Any, Completion]) -> Completion:
    return await asyncio.wait_for(work, seconds)


async def _twice(litellm: Any, arguments: dict[str, Any]) -> Completion:
    """Once more if the connection broke: it happens to a good engine (EOF on a connection just taken)."""
    try:
        return await _streamed(litellm, arguments)
    except Exception as error:  # raised again unless it is that very one, which litellm wraps in several ways
        if not _broke(error):
            raise
    return await _streamed(litellm, arguments)


async def _streamed(litellm: Any, arguments: dict[str, Any]) -> Completion:
    started = time.monotonic()
    first_token_seconds, parts, finish, usage = 0.0, [], "stop", None
    stream = await litellm.acompletion(**arguments)
    try:
        async for chunk in stream:
            usage = getattr(chunk, "usage", None) or usage
            for choice in chunk.choices:
                said = choice.delta.content or ""
                if said or getattr(choice.delta, "reasoning_content", None):
                    first_token_seconds = first_token_seconds or time.monotonic() - started
                parts.append(said)
                finish = choice.finish_reason or finish
    finally:
        await stream.aclose()
    return Completion(
        text="".join(parts),
        finish_reason=finish,
        tokens_in=getattr(usage, "prompt_tokens", 0) or 0,
        tokens_out=getattr(usage, "completion_tokens", 0) or 0,
        first_token_seconds=first_token_seconds,
        seconds=time.monotonic() - started,
    )


def _arguments(request: ModelRequest, parameters: dict[str, Any], temperature: float) -> dict[str, Any]:
    engine = {**parameters}
    choices_as = engine.pop("choices_as", "schema")
    system = [{"role": "system", "content": request.system}] if request.system else []
    return {
        "messages": [*system, {"role": "user", "content": request.prompt}],
        "max_tokens": _room(request),
        "temperature": temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
        "num_retries": 0,
        "max_retries": 0,
        **FREE,
        **_constraint(request, choices_as),
        **engine,
    }


def _room(request: ModelRequest) -> int:
    """The request's cap; but a label is never cut: no token is shorter than a byte, quotes included."""
    labels = [len(choice.encode()) + 3 for choice in request.choices or ()]
    return max([request.max_tokens, *labels])


def _constraint(request: ModelRequest, choices_as: str) -> dict[str, Any]:
    """Enforced while decoding: a grammar of the choices, or a JSON schema."""
    if request.choices is not None and choices_as == "grammar":
        return {"extra_body": {"grammar": choices_grammar(request.choices)}}
    schema: dict[str, Any] | None = request.json_schema
    if request.choices is not None:
        schema = {"type": "string", "enum": list(request.choices)}
    if schema is None:
        return {}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


def _plain_label(said: Completion) -> Completion:
    """A label that came as a JSON string, without its quotes."""
    try:
        label = json.loads(said.text)
    except ValueError:
        return said
    return Completion(**{**vars(said), "text": label}) if isinstance(label, str) else said


def _causes(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _broke(error: BaseException) -> bool:
    """Whether an open connection broke, as opposed to an answer with an error or nobody there."""
    return any(isinstance(cause, httpx.RemoteProtocolError | httpx.ReadError) for cause in _causes(error))


def _explained(litellm: Any, error: Exception, parameters: dict[str, Any], deadline_seconds: float) -> HotdeskError:
    kinds = litellm.exceptions
    if isinstance(error, litellm.ContextWindowExceededError):
        return BadInput(
            "The prompt is longer than the model's context.",
            means="The model wrote nothing.",
            remedy="Give it less at once: lower the agent's caps on items or on text.",
            model=_name(parameters),
        )
    if isinstance(error, TimeoutError | kinds.Timeout | httpx.TimeoutException):
        return _failed(parameters, f"gave no full answer within {deadline_seconds:.0f} s", retryable=True)
    if any(isinstance(cause, httpx.ConnectError | ConnectionRefusedError) for cause in _causes(error)):
        return _failed(parameters, "is not there any more: the connection was refused", retryable=False)
    wrong_request = (kinds.BadRequestError, kinds.AuthenticationError, kinds.NotFoundError)
    return _failed(parameters, f"failed: {str(error)[:200]}", retryable=not isinstance(error, wrong_request))


def _failed(parameters: dict[str, Any], what: str, *, retryable: bool) -> ModelFailed:
    return ModelFailed(
        f"The model {_name(parameters)} {what}.",
        means="What it had said was discarded.",
        remedy="It is asked again or the request takes another route; `hotdesk status` shows what is in memory.",
        model=_name(parameters),
        engine=parameters.get("api_base"),
        retryable=retryable,
    )


def _name(parameters: dict[str, Any]) -> str:
    """The model as people know it, without litellm's prefix for the wire format."""
    return parameters["model"].partition("/")[2] or parameters["model"]
