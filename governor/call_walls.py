"""What litellm may not do in a process of ours: talk by itself, talk when told synchronously, log what it is told.

It gets litellm passed in, once, right after the import. What a call sends is watched by `governor.call_wire`.
"""

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx

from governor.call_wire import NoWay, WatchedTransport

# litellm's own and those below it: they write prompts, answers and what providers wrote, which names accounts and keys.
LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "openai", "httpcore")
# Functions of `litellm.main` that its own async twins call, and what those pass to say so.
INNER_DOORS = {"completion": "acompletion", "embedding": "aembedding", "text_completion": "acompletion"}
ROUTER_DOORS = ("completion", "embedding", "text_completion", "image_generation", "_generic_api_call_with_fallbacks")


def wall_off(litellm: Any) -> None:
    """From here on litellm reaches the network through `WatchedTransport` only, and asynchronously only."""
    litellm.main._encoding_cache = _LateEncoding(litellm.main._load_default_encoding)
    _silence(litellm)
    _one_way_out(litellm)
    _send_once(litellm)
    _wall_up_sync_doors(litellm)


class _LateEncoding:
    """A vocabulary that litellm reads at its first call and hands on to providers that hardly ever need it: 40 MiB and
    0.3 s of each process (measured). Read when it is needed.
    """

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._read(), name)


def _silence(litellm: Any) -> None:
    litellm.suppress_debug_info = True
    litellm.drop_params = True  # else it goes through all that a provider supports at every call, 1 ms (measured)
    litellm.disable_hf_tokenizer_download = True
    litellm.expose_router_debug_in_errors = False
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging_of_a_call = litellm.litellm_core_utils.litellm_logging.Logging
    logging_of_a_call.dispatch_success_handlers = _tell_nobody
    logging_of_a_call.response_cost_calculator = _costs_nothing
    litellm.stream_chunk_builder = _counted(litellm, litellm.stream_chunk_builder)
    litellm.litellm_core_utils.streaming_handler.asyncify = _at_once


async def _tell_nobody(*_: Any, **__: Any) -> None:
    """After an answer litellm puts prompt and answer together for its callbacks. There are none, and it took a third of
    a call's CPU (5 of 15 ms, measured).
    """


def _costs_nothing(*_: Any, **__: Any) -> float:
    """Else it counts the tokens of every prompt before the answer is read, for a price that nobody asks it for."""
    return 0.0


def _counted(litellm: Any, build: Callable[..., Any]) -> Callable[..., Any]:
    """At the end litellm builds the whole answer from its pieces, for the same nobody and for what it took. Where a
    piece says that, the rest is left out: 0.7 of 11 ms (measured).
    """

    def built(chunks: Sequence[Any], *more: Any, **named: Any) -> Any:
        usages = (getattr(chunk, "usage", None) for chunk in reversed(chunks))
        usage = next((one for one in usages if one is not None), None)
        return build(chunks, *more, **named) if usage is None else litellm.ModelResponse(usage=usage)

    return built


def _at_once(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """What is left of that needs no thread of its own."""

    async def done(*given: Any, **named: Any) -> Any:
        return function(*given, **named)

    return done


def _one_way_out(litellm: Any) -> None:
    """OpenAI's client takes `aclient_session`, the handler of the other providers makes its transport itself."""
    transport = WatchedTransport()
    litellm.aclient_session = httpx.AsyncClient(transport=transport)
    litellm.client_session = httpx.Client(transport=NoWay())
    litellm.sync_transport = NoWay()
    handler = litellm.llms.custom_httpx.http_handler.AsyncHTTPHandler
    handler.create_async_transport = staticmethod(lambda *_, **__: transport)
    litellm.in_memory_llm_clients_cache.flush_cache()


def _send_once(litellm: Any) -> None:
    """For some providers litellm loses `max_retries` on its way to OpenAI's client, which then tries three times and
    sleeps in between, for as long as the Retry-After says.
    """
    door = litellm.llms.openai.openai.OpenAIChatCompletion
    given = door._get_openai_client

    @functools.wraps(given)
    def with_no_retries(self: Any, *args: Any, **kwargs: Any) -> Any:
        return given(self, *args, **{**kwargs, "max_retries": 0})

    door._get_openai_client = with_no_retries


def _wall_up_sync_doors(litellm: Any) -> None:
    """The sync functions ignore tags and filters of deployments: a local-only prompt reached the cloud."""
    for name, flag in INNER_DOORS.items():
        setattr(litellm.main, name, _inner_door(getattr(litellm.main, name), flag))
    for name in dir(litellm):
        if inspect.isfunction(getattr(litellm, name, None)) and hasattr(litellm, f"a{name}"):
            setattr(litellm, name, _walled_up(f"litellm.{name}"))
    for name in ROUTER_DOORS:
        setattr(litellm.Router, name, _walled_up(f"litellm.Router.{name}"))


def _inner_door(function: Callable[..., Any], flag: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def door(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get(flag) is not True:
            return _walled_up(f"litellm.{function.__name__}")()
        return function(*args, **kwargs)

    return door


def _walled_up(name: str) -> Callable[..., Any]:
    def door(*_: Any, **__: Any) -> Any:
        raise RuntimeError(f"{name} is walled up: it heeds no filter of deployments. Use governor.inference.")

    return door
