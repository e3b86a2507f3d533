"""The door to litellm, against a fake on the loopback address: constraints, errors, retry, deadline."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from governor import call_arguments, call_wire, inference
from governor.errors import BadInput, ModelFailed
from governor.policy.requests import ModelRequest
from tests.fakes.ollama_server import FakeOllama
from tests.fakes.openai_wire import (
    BUSY,
    OVERFLOW,
    WRONG_KEY,
    FakeOpenAI,
    begins_and_hangs,
    drops,
    embeds,
    says,
    thinks,
)

SCHEMA = {"type": "object", "properties": {"total": {"type": "string"}}, "required": ["total"]}


def request(**more: Any) -> ModelRequest:
    return ModelRequest.model_validate({"kind": "write", "prompt": "Say hello.", **more})


def ask(fake: FakeOpenAI, *, deadline_seconds: float = 20.0, **more: Any) -> inference.Completion:
    return inference.complete(request(**more), fake.parameters, deadline_seconds=deadline_seconds)


@pytest.fixture(autouse=True, scope="module")
def imported():
    inference.warm_up()


def test_the_pieces_of_a_stream_become_one_completion():
    with FakeOpenAI(says("Hel", "lo", ".", finish="length")) as fake:
        said = ask(fake, system="Be brief.", max_tokens=3)
    assert (said.text, said.finish_reason, said.tokens_in, said.tokens_out) == ("Hello.", "length", 7, 3)
    assert 0 < said.first_token_seconds <= said.seconds
    assert [message["role"] for message in fake.bodies[0]["messages"]] == ["system", "user"]
    assert fake.bodies[0]["max_tokens"] == 3
    assert fake.bodies[0]["stream"] is True


def test_the_first_token_is_that_of_a_thought_which_is_counted_and_not_said():
    with FakeOpenAI(thinks("Let ", "me ", "see")) as fake:
        said = ask(fake)
    assert (said.text, said.finish_reason, said.tokens_out) == ("", "length", 3)
    assert 0 < said.first_token_seconds <= said.seconds


def test_an_answer_without_a_word_or_a_thought_has_no_first_token():
    with FakeOpenAI(thinks()) as fake:
        assert ask(fake).first_token_seconds == 0


def test_choices_go_out_as_a_grammar_with_room_for_the_longest_label():
    with FakeOpenAI(says("spam")) as fake:
        assert ask(fake, choices=("spam", "no spam at all"), max_tokens=1).text == "spam"
    assert fake.bodies[0]["grammar"] == 'root ::= "spam" | "no spam at all"'
    assert fake.bodies[0]["max_tokens"] >= len("no spam at all")
    assert "choices_as" not in fake.bodies[0]


def test_choices_of_an_engine_without_grammars_go_out_as_a_schema_and_come_back_plain():
    with FakeOpenAI(says('"no ', 'spam"')) as fake:
        parameters = {**fake.parameters, "choices_as": "schema"}
        said = inference.complete(request(choices=("spam", "no spam")), parameters, deadline_seconds=20)
    assert said.text == "no spam"
    assert fake.bodies[0]["response_format"]["json_schema"]["schema"]["enum"] == ["spam", "no spam"]


def test_a_schema_goes_out_as_it_is():
    with FakeOpenAI(says('{"total": "3"}')) as fake:
        assert json.loads(ask(fake, json_schema=SCHEMA).text) == {"total": "3"}
    assert fake.bodies[0]["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("label", "literal"),
    [
        ("plain", '"plain"'),
        ('a "b"', '"a \\"b\\""'),
        ("a\\b", '"a\\\\b"'),
        ("a\nb", '"a\\U0000000ab"'),
        ("é", '"é"'),
    ],
)
def test_labels_are_quoted_for_the_grammar(label: str, literal: str):
    assert call_arguments.choices_grammar((label,)) == f"root ::= {literal}"


def test_a_prompt_that_is_too_long_is_bad_input_and_names_the_remedy():
    with FakeOpenAI(OVERFLOW) as fake, pytest.raises(BadInput, match="lower the agent's caps"):
        ask(fake)
    assert len(fake.bodies) == 1


@pytest.mark.parametrize(("scene", "retryable"), [(BUSY, True), (WRONG_KEY, False)])
def test_an_error_answer_says_whether_asking_again_helps(scene: Any, retryable: bool):
    with FakeOpenAI(scene) as fake, pytest.raises(ModelFailed) as caught:
        ask(fake)
    assert caught.value.data["retryable"] is retryable
    assert caught.value.data["model"] == "fake"
    assert len(fake.bodies) == 1


def test_a_broken_connection_is_tried_once_more():
    with FakeOpenAI(drops, says("hello")) as fake:
        assert ask(fake).text == "hello"
    assert len(fake.bodies) == 2


def test_a_connection_that_breaks_twice_is_a_failure():
    with FakeOpenAI(drops) as fake, pytest.raises(ModelFailed) as caught:
        ask(fake)
    assert caught.value.data["retryable"] is True
    assert len(fake.bodies) == 2


def test_past_the_deadline_the_stream_is_closed_so_that_the_engine_stops():
    with FakeOpenAI(begins_and_hangs) as fake:
        started = time.monotonic()
        with pytest.raises(ModelFailed, match="no full answer within") as caught:
            ask(fake, deadline_seconds=0.5)
        assert time.monotonic() - started < 3
        assert fake.client_left.wait(3)
    assert caught.value.data["retryable"] is True


def test_an_answer_that_nobody_wants_any_more_ends_at_once_and_the_engine_stops():
    unwanted = threading.Event()
    with FakeOpenAI(begins_and_hangs) as fake:
        threading.Timer(0.2, unwanted.set).start()
        started = time.monotonic()
        with pytest.raises(inference.Unwanted):
            inference.complete(request(), fake.parameters, deadline_seconds=20, unwanted=unwanted.is_set)
        assert time.monotonic() - started < 3
        assert fake.client_left.wait(3)


def test_an_engine_that_is_gone_is_not_worth_asking_again():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    parameters = {"model": "openai/fake", "api_base": f"http://127.0.0.1:{port}/v1", "api_key": "k"}
    with pytest.raises(ModelFailed, match="not there any more") as caught:
        inference.complete(request(), parameters, deadline_seconds=20)
    assert caught.value.data["retryable"] is False


PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    call_wire.proxy_for.cache_clear()
    yield
    call_wire.proxy_for.cache_clear()


def test_a_proxy_of_the_environment_is_not_asked(proxy: None):
    with FakeOpenAI(says("hello")) as fake:
        assert ask(fake).text == "hello"


def test_a_proxy_of_the_environment_is_not_asked_for_ollama_either(proxy: None):
    """Words that stay on this machine would be on another one then."""
    with FakeOllama("tag:1b") as fake:
        parameters = {"model": "ollama_chat/tag:1b", "api_base": fake.address}
        assert inference.complete(request(), parameters, deadline_seconds=20).text


def test_an_engine_that_never_ends_is_cut_off():
    with FakeOpenAI(says(*["x" * 5000] * 20)) as fake, pytest.raises(ModelFailed, match="far more") as caught:
        ask(fake, max_tokens=3)
    assert caught.value.data["retryable"] is False


def test_an_answer_with_half_a_pair_of_surrogates_is_mended():
    with FakeOpenAI(says("a\ud83d", "\ude00b\udc80")) as fake:
        assert ask(fake).text == "a\U0001f600b\ufffd"


def test_a_prompt_goes_out_with_its_inputs_and_as_text_that_can_be_encoded():
    with FakeOpenAI(says("hello")) as fake:
        ask(fake, prompt="Sum up\x00.", inputs={"letter": "Dear \u202eall"})
    assert fake.bodies[0]["messages"][0]["content"] == "Sum up\ufffd.\n\nletter:\nDear \u202eall"


@pytest.mark.parametrize("backwards", [False, True])
def test_texts_become_vectors_in_their_order(backwards: bool):
    with FakeOpenAI(embeds([1.0, 0.5], [0, -1], backwards=backwards)) as fake:
        embedded = inference.embed(["one", "t\x00wo"], fake.parameters, deadline_seconds=20)
    assert embedded.vectors == [[1.0, 0.5], [0, -1]]
    assert embedded.tokens_in == 5
    assert embedded.seconds > 0
    assert fake.bodies[0]["input"] == ["one", "t\ufffdwo"]
    assert "grammar" not in fake.bodies[0]


def test_ollama_embeds_with_the_options_of_the_load():
    with FakeOllama("tag:1b") as fake:
        parameters = {"model": "ollama_chat/tag:1b", "api_base": fake.address, "num_ctx": 2048, "keep_alive": "30m"}
        assert len(inference.embed(["one", "two"], parameters, deadline_seconds=20).vectors) == 2
    [body] = [body for path, body in fake.bodies if path == "/api/embed"]
    assert (body["options"], body["keep_alive"]) == ({"num_ctx": 2048}, "30m")


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        (embeds([1.0]), "1 vectors for 2 texts"),
        (embeds([1.0], [1.0, 2.0]), "different lengths"),
        (embeds([1.0], [float("nan")]), "no number"),
        (BUSY, "failed"),
    ],
)
def test_vectors_that_are_none_are_no_answer(scene: Any, words: str):
    with FakeOpenAI(scene) as fake, pytest.raises(ModelFailed, match=words):
        inference.embed(["one", "two"], fake.parameters, deadline_seconds=20)


def test_texts_that_take_too_long_to_embed_are_left():
    with FakeOpenAI(begins_and_hangs) as fake, pytest.raises(ModelFailed, match="within"):
        inference.embed(["one"], fake.parameters, deadline_seconds=0.5)
