"""One event loop for all calls of this process, and how sync code waits for it: with a deadline, and not in vain.

litellm's clients belong to one event loop, so ours runs in a thread for the life of the process.
"""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, wait
from functools import lru_cache
from typing import Any, TypeVar

from governor.call_errors import broke

# A stream is closed within 0.34 s of the cancel (measured); past this the loop itself is stuck.
LATE_SECONDS = 5.0
# How soon a call ends whose answer nobody wants any more.
UNWANTED_LOOK_SECONDS = 0.5

T = TypeVar("T")


class Unwanted(Exception):
    """Nobody wants the answer any more; the call was ended."""


def run(work: Coroutine[Any, Any, T], deadline_seconds: float, unwanted: Callable[[], bool]) -> T:
    """What becomes of `work` in the loop of this process.

    Raises:
        Unwanted: `unwanted`, which is asked twice a second, said so. TimeoutError: past the deadline.
        Exception: whatever it raises.
    """
    running = asyncio.run_coroutine_threadsafe(_within(deadline_seconds, work), _loop(os.getpid()))
    return _finished(running, deadline_seconds, unwanted)


def _finished(running: "Future[T]", deadline_seconds: float, unwanted: Callable[[], bool]) -> T:
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


async def _within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(seconds):
        return await work


async def twice(once: Callable[[], Awaitable[T]]) -> T:
    """Once more if the connection broke: it happens to a good engine (EOF on a connection just taken)."""
    try:
        return await once()
    except Exception as error:  # raised again unless it is that very one, which litellm wraps in several ways
        if not broke(error):
            raise
    return await once()


@lru_cache(maxsize=1)
def _loop(_pid: int) -> asyncio.AbstractEventLoop:
    """The event loop of this process (a fork gets its own)."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="inference", daemon=True).start()
    return loop
