"""Requests: no text of the outside is refused for characters that cannot be encoded."""

import pytest

from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest


@pytest.mark.parametrize(
    ("said", "sent"),
    [("a\ud83d b", "a\ufffd b"), ("\udc00", "\ufffd"), ("\ud83d\ude00", "\U0001f600"), ("plain", "plain")],
)
def test_half_a_pair_of_surrogates_fails_no_request(said: str, sent: str) -> None:
    request = ModelRequest(kind=Kind.CLASSIFY, prompt=said, system=said, inputs={said: said}, choices=(said, "other"))
    assert (request.prompt, request.system, request.inputs, request.choices) == (
        sent,
        sent,
        {sent: sent},
        (sent, "other"),
    )
    assert request.text.encode()


def test_what_is_no_text_is_still_refused() -> None:
    with pytest.raises(ValueError, match="prompt"):
        ModelRequest(kind=Kind.CLASSIFY, prompt=7)  # pyright: ignore[reportArgumentType]
