"""The scores of the benchmark on cases whose answer is known."""

from random import Random

import pytest

from tests.benchmarks.routing_scores import apgr, folds, worst_decile_points


def test_no_order_at_all_is_a_half_and_a_random_one_about_that():
    gains = [1, 0, 0, 1, 0, 0, 0, 0]
    assert apgr([0.0] * 8, gains) == pytest.approx(0.5)
    many = [int(index % 5 == 0) for index in range(5000)]
    random = Random(1)
    assert apgr([random.random() for _ in many], many) == pytest.approx(0.5, abs=0.03)


def test_who_knows_where_the_gain_is_recovers_it_with_the_first_calls_and_who_knows_it_wrongly_with_the_last():
    gains = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert apgr([2.0, 2.0, *[1.0] * 8], gains) == pytest.approx(0.9)
    assert apgr([1.0, 1.0, *[2.0] * 8], gains) == pytest.approx(0.1)


def test_a_prompt_that_only_the_small_model_gets_right_costs():
    assert apgr([2.0, 1.0, 0.0], [1, 1, -1]) > 1
    assert apgr([0.0, 1.0, 2.0], [1, 1, -1]) < 0.5


def test_every_row_is_scored_once_and_never_learned_from_where_it_is():
    scored: list[int] = []
    for learned, left_out in folds(103, 5, seed=3):
        assert not set(learned) & set(left_out) and len(learned) + len(left_out) == 103
        scored += left_out
    assert sorted(scored) == list(range(103))


def test_a_forecast_is_as_far_off_as_its_worst_tenth():
    gains = [int(index % 2) for index in range(1000)]
    assert worst_decile_points([0.5] * 1000, gains)[0] == pytest.approx(0.0)
    off, chance = worst_decile_points([0.5 if index < 900 else 0.9 for index in range(1000)], gains)
    assert off == pytest.approx(40.0) and chance == pytest.approx(5.0)
