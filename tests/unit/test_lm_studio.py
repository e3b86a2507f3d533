"""The LM Studio engine against a fake server that speaks its API, older versions included."""

from collections.abc import Iterator, Sequence

import pytest

from governor.engines import lm_studio
from governor.engines.lm_studio import LMStudioEngine, address
from governor.engines.protocol import Loaded, Running
from governor.errors import DoesNotFit, ModelFailed, NotReady
from governor.policy.facts import ModelSpec
from tests.fakes.lm_studio_server import FakeLMStudio

KEY = "qwen/qwen3-4b"
SPEC = ModelSpec(
    engine="lm_studio",
    model=KEY,
    source=KEY,
    line="gpu",
    context_tokens=4096,
    gpu_layers=-1,
    parameters_billion=4,
    expected_mib=3500,
)
ENGINE = LMStudioEngine()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLMStudio]:
    with FakeLMStudio(KEY, "gemma-3-270m") as fake:
        monkeypatch.setenv("LM_STUDIO_URL", fake.address)
        monkeypatch.setattr(lm_studio, "LATE_INSTANCE_SECONDS", 1.0)
        yield fake


def test_its_default_address_is_its_own_default_port(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LM_STUDIO_URL", raising=False)
    assert address() == "http://127.0.0.1:1234"


@pytest.mark.parametrize("old", ["answers_404", "answers_200"])
def test_a_version_without_the_api_says_so(old: str, server: FakeLMStudio):
    server.old = old
    assert "older than 0.4" in (ENGINE.health() or "")
    assert ENGINE.residents() is None
    assert ENGINE.unload(Loaded(address(), None, None, None), KEY) is False


def test_a_load_into_a_version_without_the_api_is_not_ready(server: FakeLMStudio):
    server.old = "answers_404"
    with pytest.raises(NotReady, match=r"0\.4 or newer"):
        ENGINE.load(SPEC)


def test_a_load_asks_for_the_context_and_is_listed_with_it(server: FakeLMStudio):
    ENGINE.load(SPEC)
    assert server.loads == [{"model": KEY, "context_length": 4096}]
    assert ENGINE.residents() == [Running(KEY, "loaded", context_tokens=4096)]


def test_a_second_load_makes_no_second_instance(server: FakeLMStudio):
    ENGINE.load(SPEC)
    ENGINE.load(SPEC)
    assert list(server.instances) == [KEY]


def test_an_instance_with_another_context_makes_room_for_the_right_one(server: FakeLMStudio):
    server.instances = {KEY: (KEY, 2048)}
    ENGINE.load(SPEC)
    assert list(server.instances.values()) == [(KEY, 4096)]


def test_another_object_unloads_every_instance_by_asking_the_list(server: FakeLMStudio):
    server.instances = {"mine": (KEY, 4096), "theirs": (KEY, 2048), "other": ("gemma-3-270m", 2048)}
    assert LMStudioEngine().unload(Loaded(address(), None, None, None), KEY)
    assert list(server.instances) == ["other"]


def test_an_instance_that_turns_up_after_its_load_was_broken_off_is_unloaded(server: FakeLMStudio):
    server.load_seconds = 0.5

    def watch(pids: Sequence[int]) -> None:
        assert pids == ()
        if server.loads:
            raise DoesNotFit("Memory ran short.", remedy="None.")

    with pytest.raises(DoesNotFit):
        ENGINE.load(SPEC, watch=watch)
    assert server.loads
    assert not server.instances


def test_a_model_that_it_does_not_have_says_what_to_do(server: FakeLMStudio):
    with pytest.raises(NotReady, match="Download nothing/here"):
        ENGINE.load(SPEC.model_copy(update={"source": "nothing/here"}))


def test_a_full_server_is_worth_asking_again(server: FakeLMStudio):
    server.queue_full = True
    with pytest.raises(ModelFailed) as caught:
        ENGINE.load(SPEC)
    assert caught.value.data["retryable"] is True


def test_its_token_goes_with_every_question(server: FakeLMStudio, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LM_API_TOKEN", "secret")
    loaded = ENGINE.load(SPEC)
    parameters = ENGINE.litellm_parameters(SPEC, loaded)
    assert parameters == {"model": f"openai/{KEY}", "api_base": f"{server.address}/v1", "api_key": "secret"}
    assert server.keys_heard == {"Bearer secret"}
