"""JSON over HTTP with bounds: what comes back, what is broken off, what an error means."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from governor.engines.wire import Fault, Wire, WireError, unusable, wait_until
from governor.errors import ModelFailed, NotReady
from governor.policy.facts import ModelSpec
from tests.fakes.http_server import Exchange
from tests.fakes.mortal_server import MortalServer

SPEC = ModelSpec(
    engine="e", model="m", source="m", line="cpu", context_tokens=512, parameters_billion=1, expected_mib=100
)


class FakeEngine(MortalServer):
    """A FAKE of any engine: one path for each way to answer."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str | None] = []
        self.client_left = threading.Event()

    def answer(self, exchange: Exchange) -> None:
        self.keys.append(exchange.headers.get("Authorization"))
        if exchange.path == "/slow":
            if self.client_leaves_within(exchange, 10):
                self.client_left.set()
        elif exchange.path == "/head-only":
            exchange.start_stream("application/json")
            if self.client_leaves_within(exchange, 10):
                self.client_left.set()
        elif exchange.path == "/text":
            exchange.start_stream("text/plain")
            exchange.send_chunk("OK")
        elif exchange.path == "/deep":
            exchange.start_stream("application/json")
            exchange.send_chunk("[" * 200_000)
        elif exchange.path == "/empty":
            exchange.start_stream("text/plain")
        elif exchange.path == "/base/echo":
            exchange.send_json(200, exchange.body)
        else:
            exchange.send_json(int(exchange.path[1:]), {"error": "as asked"})


@pytest.fixture
def server() -> Iterator[FakeEngine]:
    with FakeEngine() as fake:
        yield fake


def test_a_path_in_the_address_a_body_and_a_key_reach_the_server(server: FakeEngine):
    wire = Wire(f"{server.address}/base/", "secret")
    assert wire.post("/echo", {"a": 1}) == {"a": 1}
    assert wire.post("/echo") == {}
    assert server.keys == ["Bearer secret"] * 2
    assert "secret" not in repr(wire)


def test_text_is_no_json_unless_it_is_asked_for(server: FakeEngine):
    wire = Wire(server.address)
    assert wire.watched("GET", "/text", seconds=2, plain=True) == "OK"
    assert wire.get("/empty") is None
    with pytest.raises(WireError, match="no JSON") as caught:
        wire.get("/text")
    assert caught.value.fault is Fault.BROKEN


def test_json_that_is_too_deep_is_broken(server: FakeEngine):
    with pytest.raises(WireError) as caught:
        Wire(server.address).get("/deep")
    assert caught.value.fault is Fault.BROKEN


@pytest.mark.parametrize("status", [301, 404, 503])
def test_an_error_status_is_refused_with_what_was_said(status: int, server: FakeEngine):
    with pytest.raises(WireError) as caught:
        Wire(server.address).get(f"/{status}")
    assert (caught.value.fault, caught.value.status) == (Fault.REFUSED, status)
    assert "as asked" in caught.value.text
    assert Wire(server.address).found(f"/{status}") is None


@pytest.mark.parametrize("path", ["/slow", "/head-only"])
def test_an_answer_that_is_late_is_broken_off(path: str, server: FakeEngine):
    started = time.monotonic()
    with pytest.raises(WireError) as caught:
        Wire(server.address).get(path, seconds=0.3)
    assert caught.value.fault is Fault.LATE
    assert time.monotonic() - started < 2.0
    assert server.client_left.wait(5)


@pytest.mark.parametrize("path", ["/slow", "/head-only"])
def test_what_the_watcher_raises_breaks_the_call_off(path: str, server: FakeEngine):
    seen: list[tuple[int, ...]] = []

    def watch(pids: Sequence[int]) -> None:
        seen.append(tuple(pids))
        if len(seen) == 3:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        Wire(server.address).watched("POST", path, {}, seconds=10, watch=watch, pids=lambda: (7,))
    assert seen == [(7,)] * 3
    assert server.client_left.wait(5)


def test_what_is_refused_at_once_is_never_sent(server: FakeEngine):
    def refuse(_pids: Sequence[int]) -> None:
        raise KeyError("no")

    with pytest.raises(KeyError):
        Wire(server.address).watched("GET", "/text", seconds=5, watch=refuse)
    assert server.keys == []


@pytest.mark.parametrize("address", ["", "127.0.0.1", "http://", "http://127.0.0.1:port", "http://[::1"])
def test_an_address_that_is_none_is_absent(address: str):
    with pytest.raises(WireError) as caught:
        Wire(address).get("/")
    assert caught.value.fault is Fault.ABSENT


def test_a_port_that_nobody_listens_on_is_absent_and_not_ready():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(WireError) as caught:
        Wire(address).get("/")
    assert caught.value.fault is Fault.ABSENT
    error = unusable(caught.value, SPEC, remedy="Start it.")
    assert isinstance(error, NotReady)
    assert error.remedy == "Start it."


@pytest.mark.parametrize(
    ("status", "missing", "kind", "retryable"),
    [
        (404, "Fetch it.", NotReady, None),
        (404, None, ModelFailed, False),
        (400, None, ModelFailed, False),
        (429, None, ModelFailed, True),
        (503, None, ModelFailed, True),
        (500, None, ModelFailed, True),
    ],
)
def test_a_refusal_means_what_its_status_says(
    status: int, missing: str | None, kind: type[Exception], retryable: bool | None
):
    error = unusable(WireError(Fault.REFUSED, "r", status=status), SPEC, remedy="Start it.", missing=missing)
    assert type(error) is kind
    assert error.data.get("retryable") is retryable


@pytest.mark.parametrize("fault", [Fault.LATE, Fault.BROKEN])
def test_a_call_that_was_late_or_broke_is_worth_asking_again(fault: Fault):
    error = unusable(WireError(fault, "r"), SPEC, remedy="Start it.")
    assert error.data["retryable"] is True


def test_waiting_ends_with_what_it_waits_for_or_with_its_time():
    answers = iter([False, False, True])
    watched: list[int] = []
    assert wait_until(lambda: next(answers), 5.0, watch=watched.extend, pids=lambda: (1,))
    assert watched == [1, 1]
    assert not wait_until(lambda: False, 0.05)
