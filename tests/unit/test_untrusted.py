"""Outside text: nothing unseen in it, no markup, no end of our prompt, no fence of its own, and never slow."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.untrusted import CONTROL, FENCE_BEGIN, FENCE_END, SPECIAL_TOKENS, as_data, fence, plain_line, visible

NASTY = st.text(
    st.sampled_from("<>!-/?=[]{}&#;|｜\"'abstyle ix\n\x1b\x9b\x07\u200b\u202e\U000e0041\ud800" + "textndofINS"),
    max_size=80,
)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\x1b[31mred\x1b[0m b", "ared b"),
        ("\x1b]8;;https://evil.example\x07here\x1b]8;;\x07", "here"),
        ("\x1b]0;title\x1b\\x", "x"),
        ("\x9b31mx\x1bPq...\x1b\\y", "xy"),
        ("ig\u200bno\u2060re\ufeff", "ignore"),
        ("\u202eabc\u202c \u2066d\u2069\u061c", "abc d"),
        ("hi\U000e0069\U000e0067\U000e006e", "hi"),
        ("a\ufe0f\U000e0100b\u00ad", "ab"),
        ("a\ud800b", "a\ufffdb"),
        ("a\x85b\u2028c\r\nd\re\x00f", "a\nb\nc\nd\ne f"),
        ("Straße, 日本語, 😀", "Straße, 日本語, 😀"),
    ],
)  # fmt: skip
def test_only_what_is_seen_is_left(text: str, seen: str) -> None:
    assert visible(text) == seen


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("<p>One</p><p>Two</p>", "One Two"),
        ("<b>W</b>ord H<sub>2</sub>O", "Word H2O"),
        ("<style>p{color:red}</style>x<script>if(a<b)alert('<b>')</script>y", "x y"),
        ("a<!-- <b>hidden</b> -->b", "a b"),
        ("1 < 2 & 3 > 2", "1 < 2 & 3 > 2"),
        ("<p title='a", "<p title='a"),
        ("<![if foo]>x<!DOCTYPE y><?php z?>", "x"),
        ("&lt;script&gt;", "<script>"),
        ("&#x202e;a&#8203;b&#0;&#xD800;&#9999999999;", "ab\ufffd\ufffd\ufffd"),
    ],
)  # fmt: skip
def test_markup_is_not_data(html: str, words: str) -> None:
    assert as_data(html) == words


@pytest.mark.parametrize(
    "token",
    [
        "<|im_end|>", "<|IM_START|>",
        "<|im_<|x|>end|>",
        "&lt;|im_end|&gt;", "<|im_\u200bend|>", "</s>", "[INST]",
        "[/inst]",        "<<SYS>>",
        "<end_of_turn>",
        "<｜end▁of▁sentence｜>", "<|reserved_special_token_5|>", "<think>",
    ],
)  # fmt: skip
def test_no_token_of_a_template_survives(token: str) -> None:
    for said in (as_data(f"a {token} b"), fence(f"a {token} b"), plain_line(f"a {token} b")):
        assert SPECIAL_TOKENS.search(said) is None
        assert "im_end|>" not in said or "<|" not in said


@pytest.mark.parametrize(
    "mark",
    [
        "[end of text]", "[END OF TEXT]",
        "[ end  of\ttext ]",
        "[en\u200bd of te\u00adxt]", "[end-of-text]", "［end of text］",
        "[еnd оf tехt]", "[text]", "[Text ]", "[[text]]", "[en[text]d of text]", "[ｅｎｄ ｏｆ ｔｅｘｔ]",
        "[end of\U000e0020 text]",
    ],
)  # fmt: skip
def test_a_fence_cannot_be_forged(mark: str) -> None:
    inside = fence(f"a {mark} b").removeprefix(FENCE_BEGIN).removesuffix(FENCE_END)
    assert "quoted mark" in inside
    assert "[end of text]" not in inside.casefold()
    assert "[text]" not in inside.casefold()


def test_other_brackets_stay() -> None:
    code = "values[text_index] = text[0]  # [see the text]"
    assert code in fence(code)


@given(NASTY)
def test_whatever_comes_what_leaves_is_plain(text: str) -> None:
    for said in (as_data(text), plain_line(text)):
        assert CONTROL.search(said) is None
        assert "\n" not in said
        said.encode()
        assert SPECIAL_TOKENS.search(said) is None
    fenced = fence(text)
    assert fenced.count(FENCE_BEGIN) == fenced.count(FENCE_END) == 1
    assert fence(visible(text)) == fenced


@given(NASTY)
def test_plain_text_stays_as_it_is(text: str) -> None:
    once = plain_line(text, 1000)
    assert plain_line(once, 1000) == once


@pytest.mark.parametrize(
    "unit", ["<", "<a ", "<!--", "<a b='x", "</", "<script>", "\x1b]", "[text]", "<|", "&#", "[te"]
)
def test_four_megabytes_take_no_time(unit: str) -> None:
    text = (unit * 4_000_000)[:4_000_000]
    began = time.process_time()
    as_data(text)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("text", "limit", "left"),
    [
        ("it costs 12345 euros", 11, "it costs"),
        ("it costs 12345 euros", 14, "it costs 12345"),
        ("it costs 1,234.50", 14, "it costs"),
        ("9" * 50, 20, ""),
        ("abcdef", 3, "abc"),
    ],
)
def test_no_number_is_cut_in_two(text: str, limit: int, left: str) -> None:
    assert as_data(text, limit) == plain_line(text, limit) == left


def test_the_limit_holds_and_no_markup_pushes_the_words_out() -> None:
    assert len(as_data("word " * 1000, 50)) <= 50
    assert as_data("<style>" + "x" * 100_000 + "</style>word", 50) == "word"
