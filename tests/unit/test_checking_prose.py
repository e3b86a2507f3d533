"""The rules for an answer: what passes, what does not, and that nothing passes by saying nothing."""

import pytest

from blocks.checking.prose import faithful, first_sentence, length, no_new_links, no_new_numbers, words_from

SOURCE = (
    "The ferry runs again from Monday. Two charging arms were replaced for 240 euros. See https://courier.example.org/1"
)


def test_a_faithful_summary_passes() -> None:
    assert faithful(SOURCE)("The ferry runs again after two charging arms were replaced.") == []


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Ferry.",
        "The ferry runs again from Monday for 250 euros.",
        "The ferry runs again from Monday, see https://other.example.org/1 for the charging arms.",
        "A celebrity opened his restaurant yesterday, everybody cheered loudly.",
        "The ferry runs again. " * 40,
    ],
)
def test_what_a_source_does_not_say_is_refused(answer: str) -> None:
    assert faithful(SOURCE)(answer)


@pytest.mark.parametrize("number", ["1.9", "12:30", "2,300"])
def test_a_number_passes_only_as_it_stands_in_the_source(number: str) -> None:
    assert no_new_numbers(f"costs {number} today")(f"It says {number}") == []
    assert no_new_numbers("costs 19 today")(f"It says {number}")


def test_a_changed_link_is_a_new_link() -> None:
    assert no_new_links(SOURCE)("https://courier.example.org/1") == []
    assert no_new_links(SOURCE)("https://courier.example.org/2")


def test_an_answer_without_words_does_not_count_as_the_sources_words() -> None:
    assert words_from(SOURCE)("- - -")


def test_inflected_words_are_the_sources_words() -> None:
    assert words_from("the bakery closes")("bakery closed") == []


def test_length_counts_no_surrounding_space() -> None:
    assert length(3, 5)("  four  ") == []
    assert length(5, 9)("  four  ")


def test_the_stand_in_for_a_summary_is_the_first_sentence_and_stays_short() -> None:
    assert first_sentence("One. Two.") == "One."
    assert len(first_sentence("word " * 100, most=50)) <= 50
