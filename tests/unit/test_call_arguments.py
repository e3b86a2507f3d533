"""What a request becomes for an engine or a provider, and what an answer becomes for an agent. No model, no network."""

import json
from typing import Any

import pytest

from governor import call_arguments
from governor.policy.requests import ModelRequest

SCHEMA = {"type": "object", "properties": {"total": {"type": "string"}}}


def request(**more: Any) -> ModelRequest:
    return ModelRequest.model_validate({"kind": "write", "prompt": "Say hello.", "max_tokens": 64, **more})


def test_the_inputs_go_along_with_the_prompt():
    asked = request(inputs={"letter": "Dear all"})
    for arguments in (
        call_arguments.local_arguments(asked, 0.0, "schema"),
        call_arguments.cloud_arguments(asked, 0.0, "groq/m", takes_schema=True),
    ):
        assert arguments["messages"] == [{"role": "user", "content": "Say hello.\n\nletter:\nDear all"}]
        assert arguments["disable_fallbacks"] is True
        assert (arguments["num_retries"], arguments["max_retries"]) == (0, 0)


def test_a_provider_is_given_a_label_as_the_field_of_an_object():
    arguments = call_arguments.cloud_arguments(request(choices=("a", "b")), 0.0, "mistral/m", takes_schema=True)
    schema = arguments["response_format"]["json_schema"]["schema"]
    assert schema["type"] == "object"
    assert schema["properties"]["label"]["enum"] == ["a", "b"]


@pytest.mark.parametrize(
    ("calls", "more", "streams"),
    [
        ("groq/m", {"json_schema": SCHEMA}, False),
        ("groq/m", {}, True),
        ("mistral/m", {"json_schema": SCHEMA}, True),
    ],
)
def test_who_answers_a_schema_at_once_is_given_no_options_of_a_stream(calls: str, more: dict[str, Any], streams: bool):
    arguments = call_arguments.cloud_arguments(request(**more), 0.0, calls, takes_schema=True)
    assert ("stream_options" in arguments) is streams


@pytest.mark.parametrize(
    ("more", "words"),
    [({"choices": ("spam", "no spam")}, "spam\nno spam"), ({"json_schema": SCHEMA}, json.dumps(SCHEMA))],
)
def test_who_takes_no_schema_is_told_in_words(more: dict[str, Any], words: str):
    arguments = call_arguments.cloud_arguments(request(system="Be brief.", **more), 0.0, "x/m", takes_schema=False)
    told = arguments["messages"][0]
    assert told["role"] == "system"
    assert told["content"].startswith("Be brief.\n\n")
    assert told["content"].endswith(words)
    assert "response_format" not in arguments


def test_a_label_is_never_cut():
    longest = "a label that is rather long, and é"
    assert call_arguments.room(request(choices=("a", longest), max_tokens=1)) >= len(json.dumps({"label": longest}))


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("plain", "plain"),
        ("", ""),
        ("é \U0001f600", "é \U0001f600"),
        ("\ud83d\ude00", "\U0001f600"),
        ("a\ud800b", "a\ufffdb"),
        ("a\udc80b", "a\ufffdb"),
        ("a\x00b", "a\ufffdb"),
        ("\u202eabc\u202c", "\u202eabc\u202c"),
    ],
)
def test_text_is_mended_so_that_every_encoder_takes_it(text: str, mended: str):
    assert call_arguments.whole(text) == mended
    mended.encode()


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("spam", "spam"),
        ('"spam"', "spam"),
        ('{"label": "spam"}', "spam"),
        ('{"other": "spam"}', '{"other": "spam"}'),
        ('{"label": 3}', '{"label": 3}'),
        ("3", "3"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_a_label_comes_out_of_what_is_around_it(text: str, label: str):
    assert call_arguments.plain_label(text) == label


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('  ```\n{"a":\n1}\n```\n', '{"a":\n1}'),
        ('{"a": 1}', '{"a": 1}'),
        ("```", "```"),
        ("```json\n{", "```json\n{"),
    ],
)
def test_json_comes_out_of_its_fence(text: str, plain: str):
    assert call_arguments.unfenced(text) == plain


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ([[1.0, 2], [0.5, -1.0]], None),
        ([[1.0]], "1 vectors for 2 texts"),
        ([[1.0], [1.0], [1.0]], "3 vectors for 2 texts"),
        ([[1.0], []], "empty"),
        ([[1.0], None], "empty"),
        ([[1.0], [1.0, 2.0]], "different lengths"),
        ([[1.0], [float("nan")]], "no number"),
        ([[float("inf")], [1.0]], "no number"),
        ([["1"], [1.0]], "no number"),
    ],
)
def test_vectors_are_one_of_one_length_for_each_text(vectors: list[Any], words: str | None):
    problem = call_arguments.vectors_problem(vectors, 2)
    assert problem is None if words is None else problem is not None and words in problem
