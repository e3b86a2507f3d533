"""litellm goes nowhere by itself: the way out of the process is narrow, the sync doors are shut, the logs silent."""

import asyncio
import logging
from typing import Any

import httpx
import pytest

from governor import call_wire, inference, routers
from governor.call_wire import Wire
from governor.policy.requests import Privacy
from tests.fakes.cloud_tier import FakeCloudTier, refuses, says
from tests.fakes.openai_wire import FakeOpenAI
from tests.fakes.openai_wire import says as engine_says
from tests.unit.cloud_stage import MESSAGES, SECRET, called, cloud_account
from tests.unit.cloud_stage import request as asked

REQUEST = asked()


@pytest.fixture(autouse=True, scope="module")
def litellm() -> Any:
    inference.warm_up()
    return inference._litellm()


def account(name: str, address: str = "http://127.0.0.1:9", **more: Any) -> Any:
    return cloud_account(address, name=name, **more)


def test_nothing_is_let_out_that_belongs_to_no_call(litellm: Any):
    with FakeCloudTier(says("Hello")) as fake:
        parameters = {"model": "openai/m", "api_base": fake.address, "api_key": "k", "num_retries": 0}

        async def stray() -> Any:
            return await litellm.acompletion(messages=MESSAGES, **parameters)

        with pytest.raises(Exception):  # noqa: B017
            asyncio.run(stray())
        assert fake.hits == 0


def test_a_local_call_goes_to_its_engine_and_to_no_other_place(litellm: Any):
    with FakeCloudTier(says("Hello")) as cloud, FakeOpenAI(engine_says("hi")) as engine:
        router = routers.cloud_router(litellm, Privacy.PUBLIC, [account("groq/a", cloud.address)])
        here = call_wire.place_of(engine.parameters["api_base"])
        with pytest.raises(Exception, match="another place"):
            called(lambda: router.acompletion(model="groq/a", messages=MESSAGES, stream=True), Wire(here, 10**6))
        assert cloud.hits == 0


@pytest.mark.parametrize("model", ["openai/m", "ollama_chat/m"])
def test_an_engine_that_points_to_the_cloud_is_not_followed(model: str):
    with FakeCloudTier(says("stolen")) as thief, FakeCloudTier(refuses(307, {}, Location=f"{thief.address}/x")) as fake:
        parameters = {"model": model, "api_base": fake.address, "api_key": "k"}
        with pytest.raises(inference.HotdeskError):
            inference.complete(REQUEST, parameters, deadline_seconds=5)
        assert (fake.hits, thief.hits) == (1, 0)


def test_the_proxy_of_the_environment_is_for_the_cloud(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:3128")
    monkeypatch.setenv("no_proxy", "spared.invalid")
    call_wire.proxy_for.cache_clear()
    assert call_wire.proxy_for("https", "tier.invalid") == "http://127.0.0.1:3128"
    assert call_wire.proxy_for("https", "spared.invalid") is None
    call_wire.proxy_for.cache_clear()


@pytest.mark.parametrize(
    ("pieces", "ended"),
    [
        ([b'{"finish_reason": "stop"}'], True),
        ([b'{"finish_reas', b'on":"length"'], True),
        ([b'{"finishReason": "STOP"}'], True),
        ([b'{"done":true,"done_reason":"stop"}'], True),
        ([b'{"finish_reason": null}', b'{"finish_reason":""}'], False),
        ([b'{"content": "\\"finish_reason\\": \\"stop\\""}'], False),
        ([b"data: [DONE]\n\n"], False),
        ([], False),
    ],
)
def test_an_answer_says_itself_that_it_is_whole(pieces: list[bytes], ended: bool):
    wire = Wire(None, 1000)
    wire.answered(httpx.Response(200))
    for piece in pieces:
        wire.received(piece)
    assert wire.ended is ended


def test_what_was_squeezed_although_nobody_asked_for_it_is_taken_as_it_comes():
    wire = Wire(None, 1000)
    wire.answered(httpx.Response(200, headers={"Content-Encoding": "gzip"}))
    assert wire.ended is None


# --- the sync doors


DOORS = {
    "completion": lambda lib: lib.completion(model="openai/m", messages=MESSAGES),
    "main.completion": lambda lib: lib.main.completion(model="openai/m", messages=MESSAGES),
    "text_completion": lambda lib: lib.text_completion(model="openai/m", prompt=SECRET),
    "embedding": lambda lib: lib.embedding(model="openai/m", input=[SECRET]),
    "main.embedding": lambda lib: lib.main.embedding(model="openai/m", input=[SECRET]),
    "responses": lambda lib: lib.responses(model="openai/m", input=SECRET),
    "completion_with_retries": lambda lib: lib.completion_with_retries(model="openai/m", messages=MESSAGES),
    "moderation": lambda lib: lib.moderation(input=SECRET),
    "Router.completion": lambda lib: router_of(lib).completion(model="groq/a", messages=MESSAGES),
    "Router.text_completion": lambda lib: router_of(lib).text_completion(model="groq/a", prompt=SECRET),
    "Router.embedding": lambda lib: router_of(lib).embedding(model="groq/a", input=[SECRET]),
    "Router.chat": lambda lib: router_of(lib).chat.completions.create(model="groq/a", messages=MESSAGES),
}


def router_of(litellm: Any) -> Any:
    return routers.cloud_router(litellm, Privacy.PUBLIC, [account("groq/a")])


@pytest.mark.parametrize("door", sorted(DOORS))
def test_the_sync_doors_of_litellm_are_walled_up(litellm: Any, door: str):
    with pytest.raises(RuntimeError, match=r"walled up.*governor\.inference"):
        DOORS[door](litellm)


def test_what_is_sent_synchronously_all_the_same_finds_no_way_out(litellm: Any):
    with FakeCloudTier(says("Hello")) as fake:
        for client in (litellm.module_level_client, litellm.client_session):
            with pytest.raises(call_wire.Strayed):
                client.post(f"{fake.address}/chat/completions", json={"messages": MESSAGES})
        batch = litellm.batch_completion(model="openai/m", api_base=fake.address, api_key="k", messages=[MESSAGES])
        assert all(isinstance(one, RuntimeError) for one in batch)
        assert fake.hits == 0


def test_litellm_logs_nothing(litellm: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]):
    caplog.set_level(logging.DEBUG)
    with FakeCloudTier(refuses(500, {"error": {"message": f"bad {SECRET}"}}), says("Hello")) as fake:
        for _ in range(2):
            try:
                inference.complete_in_cloud(REQUEST, account("groq/a", fake.address), deadline_seconds=5)
            except inference.CloudFailure:
                continue
    output = capfd.readouterr()
    assert SECRET not in caplog.text + output.out + output.err
