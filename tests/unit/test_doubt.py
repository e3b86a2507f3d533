"""What in an answer itself says that it is wrong: nobody is accused lightly, and sums are done again."""

import pytest

from governor.policy.arithmetic import wrong_equations
from governor.policy.doubt import agreement, doubts, is_cut_off

SOUND = [
    "The ferry runs again from Monday.",
    "I'm sorry, I cannot come on Friday; Thursday suits me.\n\nKind regards,\nAnna",
    "Not enough is known about the cause, the council said. A report is due in May.",
    "- milk\n- bread\n- butter",
    "La la la la\nLa la la la\nLa la la la",
    "3 apples and 4 pears make 7 pieces of fruit: 3 + 4 = 7.",
    "| a | b |\n|---|---|\n| 1 | 2 |\n| 1 | 2 |\n| 1 | 2 |",
    "He said: as an aide, I was told nothing.",
]


@pytest.mark.parametrize("text", SOUND)
def test_a_sound_answer_is_not_doubted(text: str):
    assert doubts(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "I'm sorry, but I can't assist with that request.",
        "As an AI language model, I do not have opinions.",
        "I do not have enough information to answer.",
        "The total is 12. Wait, that is wrong: it is 14.",
        "The answer is clear.<|im_end|>",
        "She walks to the door. " * 12,
        "5 * 3 = 15 and 15 + 4 = 20, so 20 in all.",
    ],
)
def test_an_answer_that_gives_itself_away_is_doubted(text: str):
    assert doubts(text)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("12 * 3 = 36", 0),
        ("12 * 3 = 35", 1),
        ("$1,200 / 4 = $300", 0),
        ("20% of 50 = 10", 0),
        ("2 + 2 = 4 = 5", 0),  # a side without a sum may be anything
        ("x = 5", 0),
        ("10 / 3 = 3.33", 0),
        ("The ratio is 2:3 and the date 2026-11-25.", 0),
        ("1 / 0 = 5", 0),
        ("9" * 400 + " * 2 = 3", 0),
    ],
)
def test_sums_are_done_again(text: str, wrong: int):
    assert len(wrong_equations(text)) == wrong


@pytest.mark.parametrize(
    ("texts", "agree"),
    [
        (["12", "The answer is 12."], True),
        (["12", "13"], False),
        (["$1,200", "1200"], True),
        (["Paris.", "paris"], True),
        (["Paris", "Rome"], False),
        (["12", "12", "13"], False),
    ],
)
def test_answers_agree_by_what_they_come_to(texts: list[str], agree: bool):
    assert agreement(texts) is agree


def test_a_cut_is_told_from_an_end():
    assert is_cut_off("It closes because") and not is_cut_off("It closes in May.")


@pytest.mark.parametrize("text", ["9" * 20_000, "((((" * 5000, "a = " * 5000, "\x00\ud800", "I" * 100_000])
def test_rubbish_is_read_in_no_time(text: str):
    assert isinstance(doubts(text), list) and isinstance(wrong_equations(text), list)
    assert agreement([text, text]) in (True, False)
