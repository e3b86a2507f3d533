"""The figures of the fleet's samples: what they count, and that no item is scored by a table that has seen it."""

from typing import Any

import pytest

from governor.inference import Completion
from governor.policy.requests import ModelRequest
from tests.benchmarks.fleet_said import Said
from tests.benchmarks.fleet_samples import Question, told
from tests.benchmarks.fleet_scores import against, at_random, figures, interval, sign_test
from tests.benchmarks.fleet_ways import Score, folds

LABEL = ModelRequest.model_validate({"kind": "classify", "prompt": "Which?", "choices": ("good", "bad")})


def question(item: str, agent: str = "triage/inbox") -> Question:
    return Question(agent, item, LABEL, frozenset({"good"}))


def score(item: str, right: bool, verified: bool = True, seconds: float = 1.0) -> Score:
    return Score(question(item), right, verified, seconds, 1, "tiny")


SMALL = [score("a", True), score("b", False), score("c", False), score("d", False, verified=False)]
LARGE = [score(item, True, seconds=3.0) for item in "abcd"]


def test_a_wrong_answer_that_passes_for_right_is_counted_apart_from_one_that_is_known_to_be_wrong():
    found = figures(SMALL)
    assert (found["accuracy"], found["verified"]) == (0.25, 0.75)
    assert found["right_of_verified"] == 0.333
    assert found["wrong_and_said_so_of_wrong"] == 0.333
    assert found["accuracy_of_documents"] is None


def test_what_the_flow_writes_down_is_its_rules_word_where_no_answer_stands():
    ruled = Question("extract/a", "x", LABEL, frozenset({"good"}), by_rules="good")
    assert Score(ruled, False, False, 1.0, 1, "tiny").delivered
    assert not Score(ruled, False, True, 1.0, 1, "tiny").delivered


@pytest.mark.parametrize(("seconds", "share", "accuracy"), [(1.0, 0.0, 0.25), (2.0, 0.5, 0.625), (9.0, 1.0, 1.0)])
def test_a_coin_buys_accuracy_with_seconds(seconds: float, share: float, accuracy: float):
    coin = at_random(SMALL, LARGE, seconds)
    assert (coin["share_to_the_larger"], coin["accuracy"]) == (share, accuracy)


@pytest.mark.parametrize(("gained", "lost", "chance"), [(0, 0, 1.0), (3, 0, 0.25), (5, 5, 1.0), (0, 10, 2 / 1024)])
def test_few_gains_are_no_proof(gained: int, lost: int, chance: float):
    assert sign_test(gained, lost) == pytest.approx(chance)


def test_items_are_compared_one_by_one():
    assert against(LARGE, SMALL) == {"gained_items": 3, "lost_items": 0, "chance": 0.25}


def test_scoring_an_item_twice_makes_nothing_surer():
    assert interval(SMALL * 5) == interval(SMALL)
    low, high = interval(SMALL)
    assert low < 0.25 < high


def test_every_item_is_scored_once_and_never_by_a_table_that_has_seen_it():
    asked = [question(str(number), agent) for agent in ("triage/a", "triage/b") for number in range(6)]
    parted = list(folds(asked, 4, seed=1))
    assert sorted(id(q) for _, scored in parted for q in scored) == sorted(map(id, asked))
    assert all(not {id(q) for q in known} & {id(q) for q in scored} for known, scored in parted)
    assert all({q.agent for q in known} == {"triage/a", "triage/b"} for known, _ in parted)


def test_a_question_put_again_gets_the_next_draw_and_in_a_new_pass_the_first():
    asked: list[Any] = []

    def model(request: ModelRequest, _parameters: dict[str, Any], **limits: Any) -> Completion:
        """FAKE: a model that says how often it was asked."""
        asked.append(limits)
        return Completion(str(len(asked)), "stop", 1, 1, 0.0, 0.5)

    said = Said(_ask=model)
    of_model = {"model": "openai/m"}
    assert [said.complete(LABEL, of_model).text, said.complete(LABEL, of_model, temperature=0.4).text] == ["1", "2"]
    said.new_pass()
    assert said.complete(LABEL, of_model).text == "1"
    assert said.complete(told(question("a")).request, of_model).text == "3"
    assert (said.fresh, said.seconds, asked[1]) == (3, 1.5, {"temperature": 0.4})
