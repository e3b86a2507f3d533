"""Pages and feeds of the web: public ones only, bounded in size and time, as their sites allow.

Private, loopback, link-local and other inner addresses are refused at every hop, after the name is resolved. A host of
the operator's own network is read when the environment variable `HOTDESK_FETCH_HOSTS` names it (`host` or `host:port`,
several by commas, exact names); the proxies of the environment are not used. What a page holds is left to its reader.
"""

import time
from dataclasses import dataclass

import httpcore
import httpx

from blocks.reading import fetched
from blocks.reading.guarded_http import TROUBLE, Headers, answer_to, body, header, unfit
from blocks.reading.guarded_network import Budget
from blocks.reading.robots import SECONDS as ROBOTS_SECONDS
from blocks.reading.robots import ask_robots
from governor.errors import BadInput

FETCH_SECONDS = 30.0
PROBE_SECONDS = 10.0
# Heads and the framing of chunks come on top of a body; what is packed is smaller than what it holds.
FRAMING_BYTES = 1024 * 1024
NOT_MODIFIED = 304


def fetch(address: str, *, max_bytes: int, seconds: float = FETCH_SECONDS) -> bytes:
    """What an http(s) address gives, unpacked, at most `max_bytes` of it; `seconds` bounds all of it together.

    Raises:
        BadInput: it cannot be had, its site asks not to, or it lies where nothing is read.
    """
    budget = Budget(seconds, 2 * max_bytes + FRAMING_BYTES)
    known: dict[str, fetched.Fetched] = {}

    def before_hop(url: httpx.URL) -> Headers:
        ask_robots(url, budget.seconds(ROBOTS_SECONDS))
        before = fetched.recall(str(url))
        if before is None:
            return {}
        known[str(url)] = before
        return before.conditions

    try:
        with answer_to("GET", address, budget, before_hop=before_hop) as (answer, url):
            return _read(answer, str(url), known.get(str(url)), max_bytes)
    except (*TROUBLE, ValueError) as error:
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise unfit(address, said, "Look whether it can be reached from here, and correct `source`.") from error


def _read(answer: httpcore.Response, url: str, before: fetched.Fetched | None, max_bytes: int) -> bytes:
    if answer.status == NOT_MODIFIED and before is not None:
        return before.body[:max_bytes]
    if not 200 <= answer.status < 300:
        raise unfit(url, f"it answers HTTP {answer.status}", "Look at it in a browser, and correct `source`.")
    read, is_all = body(answer, max_bytes)
    if is_all and answer.status == 200:
        fetched.keep(url, read, etag=header(answer, "etag"), last_modified=header(answer, "last-modified"))
    return read


@dataclass(frozen=True)
class Probe:
    """How an address answers.

    Attributes:
        status: HTTP's; None when there was no answer.
        seconds: until the answer began, redirects included.
        final_address: where the last redirect led.
        problem: why there is no answer, or why it was not asked for; '' when there is one, whatever its status.
    """

    status: int | None
    seconds: float
    final_address: str
    problem: str = ""


def probe(address: str, *, seconds: float = PROBE_SECONDS) -> Probe:
    """Whether an address answers; no body is read, so robots.txt is not asked. Never raises.

    Asked by HEAD, and by GET where a server refuses that.
    """
    began = time.monotonic()
    budget = Budget(seconds, FRAMING_BYTES)
    try:
        found = _asked("HEAD", address, budget)
        if found[0] >= 400:
            found = _asked("GET", address, budget)
        return Probe(found[0], time.monotonic() - began, found[1])
    except BadInput as error:
        problem = error.happened
    except (*TROUBLE, ValueError) as error:
        problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Probe(None, time.monotonic() - began, address, problem)


def _asked(method: str, address: str, budget: Budget) -> tuple[int, str]:
    with answer_to(method, address, budget) as (answer, url):
        return answer.status, str(url)
