"""The only door to litellm: one constrained, streamed completion at a time, from sync code.

litellm is safe only through `acompletion` (its sync `completion` ignores tags and filters), and its
clients belong to one event loop, so a loop of our own runs in a thread for the life of the process.
"""

import asyncio
import json
import os
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from governor.errors import BadInput, ModelFailed
from governor.policy.facts import ModelRequest

# Before the import: no price map from the network, no stray .env, no betas list from the network.
QUIET_LITELLM = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}


@dataclass(frozen=True)
class Completion:
    """What the model said and what it cost."""

    text: str
    finish_reason: str
    tokens_in: int
    tokens_out: int
    first_token_seconds: float
    seconds: float


@lru_cache(maxsize=1)
def _litellm() -> Any:
    os.environ.update(QUIET_LITELLM)
    import litellm

    litellm.suppress_debug_info = True
    return litellm


class _Loop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="inference", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, Completion]) -> Completion:
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            # Also on a signal: the stream is closed, so the engine slot is free again.
            future.cancel()
            raise


@lru_cache(maxsize=1)
def _loop(_pid: int) -> _Loop:
    return _Loop()


def warm_up() -> None:
    """Pay for the import (3-4 CPU-seconds) before sitting down at the desk."""
    _litellm()
    _loop(os.getpid())


def complete(
    request: ModelRequest, parameters: dict[str, Any], *, deadline_seconds: float, temperature: float = 0.0
) -> Completion:
    """One answer to `request` from the engine that `parameters` points at.

    Raises:
        BadInput: the prompt does not fit the model's context.
        ModelFailed: no answer in time, or an error of the engine; data `retryable`.
    """
    litellm = _litellm()
    work = _bounded(_stream(litellm, request, parameters, temperature), deadline_seconds)
    try:
        return _loop(os.getpid()).run(work)
    except litellm.ContextWindowExceededError as error:
        raise BadInput(
            "The prompt is longer than the model's context.",
            means="The model was not asked.",
            remedy="Lower the agent's caps on items or bytes.",
        ) from error
    except TimeoutError as error:
        raise _failed(parameters, f"gave no full answer within {deadline_seconds:.0f} s") from error
    except litellm.exceptions.APIError as error:
        raise _failed(parameters, f"answered with an error: {str(error)[:200]}") from error
    except (litellm.exceptions.APIConnectionError, litellm.exceptions.OpenAIError) as error:
        raise _failed(parameters, f"could not be reached: {str(error)[:200]}") from error


async def _bounded(work: Coroutine[Any, Any, Completion], seconds: float) -> Completion:
    return await asyncio.wait_for(work, seconds)


async def _stream(litellm: Any, request: ModelRequest, parameters: dict[str, Any], temperature: float) -> Completion:
    started = time.monotonic()
    first, parts, finish, usage = 0.0, [], "stop", None
    answer = await litellm.acompletion(
        messages=_messages(request),
        max_tokens=request.max_tokens,
        temperature=temperature,
        stream=True,
        stream_options={"include_usage": True},
        num_retries=0,
        **_constraint(request, parameters),
        **parameters,
    )
    async for chunk in answer:
        usage = getattr(chunk, "usage", None) or usage
        for choice in chunk.choices:
            if choice.delta.content:
                first = first or time.monotonic() - started
                parts.append(choice.delta.content)
            finish = choice.finish_reason or finish
    return Completion(
        text="".join(parts),
        finish_reason=finish,
        tokens_in=getattr(usage, "prompt_tokens", 0) or 0,
        tokens_out=getattr(usage, "completion_tokens", 0) or 0,
        first_token_seconds=first,
        seconds=time.monotonic() - started,
    )


def _messages(request: ModelRequest) -> list[dict[str, str]]:
    system = [{"role": "system", "content": request.system}] if request.system else []
    return [*system, {"role": "user", "content": request.prompt}]


def _constraint(request: ModelRequest, parameters: dict[str, Any]) -> dict[str, Any]:
    """Enforced while decoding: a grammar of the choices, or a JSON schema."""
    if request.choices is not None and str(parameters["model"]).startswith("openai/"):
        return {"extra_body": {"grammar": choices_grammar(request.choices)}}
    if request.choices is not None:
        schema: dict[str, Any] = {"type": "string", "enum": list(request.choices)}
    elif request.json_schema is not None:
        schema = request.json_schema
    else:
        return {}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


def choices_grammar(choices: tuple[str, ...]) -> str:
    """GBNF that admits exactly one of the labels."""
    return "root ::= " + " | ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)


def _failed(parameters: dict[str, Any], what: str) -> ModelFailed:
    return ModelFailed(
        f"The model {parameters['model']} {what}.",
        means="Its answer was discarded.",
        remedy="The request is tried again or takes another route.",
        model=parameters["model"],
        retryable=True,
    )
