"""What is read in llama.cpp's answers about a model at work; what is not there is unknown (invariant 24)."""

from typing import Any

import pytest

from governor.engines import llama_slots
from governor.engines.embedded import EmbeddedEngine
from governor.engines.protocol import Loaded, Usage
from governor.engines.wire import Wire
from tests.fakes.http_server import Exchange, FakeServer

IDLE = {"id": 0, "n_ctx": 1024, "is_processing": False, "n_prompt_tokens": 900}
NEVER_USED = {"id": 0, "n_ctx": 1024, "is_processing": False}
WORKING = {"id": 1, "n_ctx": 1024, "is_processing": True, "n_prompt_tokens": 86, "next_token": [{"n_decoded": 47}]}
METRICS = """# HELP llamacpp:requests_processing Number of requests processing
llamacpp:requests_processing 1
# HELP llamacpp:requests_deferred Number of requests deferred
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 2
"""


class FakeModel(FakeServer):
    """FAKE: the two answers of llama.cpp's server, as a test wants them, and who asked for what."""

    def __init__(self, slots: Any, metrics: str | None) -> None:
        super().__init__()
        self.slots, self.metrics, self.asked = slots, metrics, list[str]()

    def answer(self, exchange: Exchange) -> None:
        self.asked.append(exchange.path)
        if exchange.path == "/slots":
            exchange.send_json(200, self.slots)
        elif self.metrics is None:
            exchange.send_json(501, {"error": {"message": "start it with --metrics"}})
        else:
            exchange.start_stream("text/plain")
            exchange.send_chunk(self.metrics)


@pytest.mark.parametrize(
    ("slots", "metrics", "usage"),
    [
        ([NEVER_USED], METRICS, Usage(1, 0, 1024, 0, 2)),
        ([IDLE], METRICS, Usage(1, 0, 1024, 0, 2)),  # what it keeps of its last request makes room for the next
        ([IDLE, WORKING], METRICS, Usage(2, 1, 1024, 86, 2)),
        ([WORKING, {**WORKING, "n_prompt_tokens": 500}], METRICS, Usage(2, 2, 1024, 500, 2)),
        ([WORKING, {"n_ctx": 1024, "is_processing": True}], METRICS, Usage(2, 2, 1024, None, 2)),
        ([WORKING], None, Usage(1, 1, 1024, 86, None)),
        ([WORKING], "llamacpp:requests_deferred\n", Usage(1, 1, 1024, 86, None)),
        ([WORKING], "llamacpp:requests_deferred many\n", Usage(1, 1, 1024, 86, None)),
        ([WORKING], "", Usage(1, 1, 1024, 86, None)),
        ([], METRICS, None),
        ({"error": "no slots"}, METRICS, None),
        ([{"is_processing": True}], METRICS, None),
        (["slot"], METRICS, None),
        (None, METRICS, None),
    ],
)
def test_what_a_model_says_of_its_work(slots: Any, metrics: str | None, usage: Usage | None):
    with FakeModel(slots, metrics) as model:
        assert llama_slots.usage(Wire(model.address)) == usage
        assert model.asked == ["/slots"] + ["/metrics"] * (usage is not None)


def test_whether_it_is_quiet_takes_one_question():
    with FakeModel([IDLE], METRICS) as model:
        loaded = Loaded(model.address, None, None, None)
        assert EmbeddedEngine().quiet(loaded, "any")
        model.slots = [WORKING]
        assert not EmbeddedEngine().quiet(loaded, "any")
        assert model.asked == ["/slots"] * 2
        assert EmbeddedEngine().usage(loaded, "any") == Usage(1, 1, 1024, 86, 2)


def test_a_model_that_is_gone_says_nothing():
    with FakeModel([IDLE], METRICS) as model:
        address = model.address
    assert llama_slots.usage(Wire(address)) is None
