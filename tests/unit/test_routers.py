"""What stands in whose Router, and that litellm goes from none to another, whatever is set and however one fails."""

import os
from typing import Any

import pytest

from governor import call_arguments, inference, routers
from governor.accounts import CloudAccount
from governor.errors import Private
from governor.policy.requests import Privacy
from tests.fakes.cloud_texts import BUSY
from tests.fakes.cloud_tier import FakeCloudTier, Scene, begins_and_breaks, refuses, says
from tests.fakes.openai_wire import FakeOpenAI
from tests.fakes.openai_wire import says as engine_says
from tests.unit.cloud_stage import MESSAGES, called, cloud_account
from tests.unit.cloud_stage import request as asked

REQUEST = asked()


@pytest.fixture(autouse=True, scope="module")
def litellm() -> Any:
    inference.warm_up()
    return inference._litellm()


def account(name: str, address: str = "http://127.0.0.1:9", **more: Any) -> CloudAccount:
    return cloud_account(address, name=name, **more)


def groups(router: Any) -> dict[str, dict[str, Any]]:
    return {one["model_name"]: one for one in router.model_list}


# --- what stands in whose list


def test_the_router_of_local_calls_knows_the_engine_at_hand_and_nothing_else(litellm: Any):
    routers.cloud_router(litellm, Privacy.PUBLIC, [account("groq/a")])
    for port in (1, 2):
        parameters = {"model": "openai/m", "api_base": f"http://127.0.0.1:{port}/v1", "api_key": "k"}
        router = routers.local_router(litellm, parameters)
        assert router is routers.local_router(litellm, dict(parameters))
        [only] = router.model_list
        assert only["litellm_params"]["api_base"] == parameters["api_base"]
        assert only["model_info"]["input_cost_per_token"] == only["model_info"]["output_cost_per_token"] == 0


def test_for_words_that_stay_here_no_router_of_the_cloud_can_be_had(litellm: Any):
    for accounts in ([], [account("groq/a")]):
        with pytest.raises(Private):
            routers.cloud_router(litellm, Privacy.LOCAL_ONLY, accounts)


@pytest.mark.parametrize("trains", ["yes", "unknown"])
def test_the_router_for_words_not_to_train_on_takes_in_no_tier_that_may_train(litellm: Any, trains: str):
    wary = routers.cloud_router(litellm, Privacy.NO_TRAINING, [account("groq/a")])
    trainer = account("mistral/t", trains=trains)
    with pytest.raises(Private):
        routers.cloud_router(litellm, Privacy.NO_TRAINING, [account("groq/a"), trainer])
    assert "mistral/t" in groups(routers.cloud_router(litellm, Privacy.PUBLIC, [trainer]))
    assert "mistral/t" not in groups(wary)


def test_each_tier_is_a_group_of_its_own_with_its_limits_and_no_price(litellm: Any):
    allowances = (
        {"unit": "requests", "span": "minute", "amount": 30},
        {"unit": "tokens", "span": "minute", "amount": 8000},
        {"unit": "requests", "span": "day", "amount": 1000},
    )
    one, other = account("groq/a", allowances=allowances), account("gemini/b", calls="gemini/b")
    known = groups(routers.cloud_router(litellm, Privacy.PUBLIC, [one, other]))
    assert len(known) == len(routers.cloud_router(litellm, Privacy.PUBLIC, [one, other]).model_list)
    told = known["groq/a"]
    assert (told["litellm_params"]["rpm"], told["litellm_params"]["tpm"]) == (30, 8000)
    assert told["model_info"]["input_cost_per_token"] == told["model_info"]["output_cost_per_token"] == 0
    assert told["model_info"]["max_input_tokens"] == 8192
    assert told["model_info"]["id"] == "groq/a"
    assert "rpm" not in known["gemini/b"]["litellm_params"]


def test_a_router_is_made_once_grows_with_the_accounts_and_takes_a_new_key(litellm: Any):
    first = routers.cloud_router(litellm, Privacy.PUBLIC, [account("groq/a", key="old")])
    assert routers.cloud_router(litellm, Privacy.PUBLIC, [account("groq/a", key="old")]) is first
    more = routers.cloud_router(litellm, Privacy.PUBLIC, [account("groq/c")])
    assert {"groq/a", "groq/c"} <= set(groups(more))
    renewed = routers.cloud_router(litellm, Privacy.PUBLIC, [account("groq/a", key="new")])
    assert groups(renewed)["groq/a"]["litellm_params"]["api_key"] == "new"
    assert {"groq/a", "groq/c"} <= set(groups(renewed))


def test_routers_that_are_no_longer_used_leave_nothing_behind(litellm: Any):
    for port in range(20):
        routers.local_router(litellm, {"model": "openai/m", "api_base": f"http://127.0.0.1:{port}/v1", "api_key": "k"})
    before = len(litellm.failure_callback)
    for port in range(20, 40):
        routers.local_router(litellm, {"model": "openai/m", "api_base": f"http://127.0.0.1:{port}/v1", "api_key": "k"})
    assert len(litellm.failure_callback) == before


def test_the_routers_are_there_before_anybody_sits_down(litellm: Any):
    inference.warm_up([account("groq/w"), account("mistral/w", trains="yes")])
    assert "groq/w" in routers._cloud[os.getpid(), Privacy.NO_TRAINING][0]
    assert {"groq/w", "mistral/w"} <= set(routers._cloud[os.getpid(), Privacy.PUBLIC][0])


# --- litellm tries nothing by itself


@pytest.mark.parametrize(
    "scene", [refuses(500, BUSY), refuses(429, BUSY), begins_and_breaks("Hel"), begins_and_breaks()]
)
@pytest.mark.parametrize("calls", ["groq/m", "openai/m", "gemini/m"])
def test_no_other_tier_is_asked_whatever_is_set_and_however_it_fails(
    litellm: Any, monkeypatch: pytest.MonkeyPatch, scene: Scene, calls: str
):
    """litellm's fallback in mid-stream would glue the texts of two models together."""
    monkeypatch.setattr(litellm, "default_fallbacks", ["groq/b"])
    monkeypatch.setattr(litellm, "fallbacks", [{"groq/a": ["groq/b"]}])
    monkeypatch.setattr(litellm, "num_retries", 3)
    with FakeCloudTier(scene) as failing, FakeCloudTier(says("from b")) as other:
        accounts = [account("groq/a", failing.address, calls=calls), account("groq/b", other.address, calls=calls)]
        router = routers.cloud_router(litellm, Privacy.PUBLIC, accounts)
        arguments = call_arguments.cloud_arguments(REQUEST, 0.0, calls, takes_schema=False)
        more = {"fallbacks": ["groq/b"], "context_window_fallbacks": [{"groq/a": ["groq/b"]}]}
        with pytest.raises(Exception):  # noqa: B017  # whatever its provider raises
            called(lambda: router.acompletion(model="groq/a", **arguments, **more))
        assert (failing.hits, other.hits) == (1, 0)


def test_a_group_that_is_not_there_is_served_by_no_other(litellm: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(litellm, "default_fallbacks", ["groq/b"])
    with FakeCloudTier(says("from b")) as fake:
        router = routers.cloud_router(litellm, Privacy.NO_TRAINING, [account("groq/b", fake.address)])
        with pytest.raises(litellm.BadRequestError):
            called(lambda: router.acompletion(model="mistral/nobody", messages=MESSAGES, stream=True))
        assert fake.hits == 0


def test_calls_beyond_those_of_a_minute_are_held_back_here(litellm: Any):
    """A second fence behind the ledger's, within one process."""
    minute = ({"unit": "requests", "span": "minute", "amount": 2},)
    with FakeCloudTier(says("Hello")) as fake:
        one = account("groq/few", fake.address, allowances=minute)
        for _ in range(2):
            inference.complete_in_cloud(REQUEST, one, deadline_seconds=5)
        with pytest.raises(inference.CloudFailure) as caught:
            inference.complete_in_cloud(REQUEST, one, deadline_seconds=5)
        assert fake.hits == 2
    assert caught.value.sent is False
    assert caught.value.went == "held_back"


def test_a_fork_of_a_warm_process_talks_by_itself():
    """Loop, thread, Router and connections are those of its own: what the parent had would hang or be shared."""
    with FakeCloudTier(says("Hello")) as fake, FakeOpenAI(engine_says("hi")) as engine:
        one = account("groq/forked", fake.address)
        inference.complete_in_cloud(REQUEST, one, deadline_seconds=5)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                heard = inference.complete_in_cloud(REQUEST, one, deadline_seconds=5)
                local = inference.complete(REQUEST, engine.parameters, deadline_seconds=5)
                status = 0 if (heard.text, local.text) == ("Hello", "hi") else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert fake.hits == 2
