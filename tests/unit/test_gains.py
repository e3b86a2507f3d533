"""How likely an answer passes, from what was seen, and how often another model is tried."""

import pytest

from governor.policy.facts import Kind
from governor.policy.gains import EXPLORE, MOST_EXPLORED, Gains, Tally, chance, explored_shares, prior, to_explore


def known(kind: tuple[int, int] = (0, 0), agent: tuple[int, int] = (0, 0)) -> Gains:
    return Gains(
        of_kind={"m": Tally(verified=kind[0], tried=kind[1])}, of_agent={"m": Tally(verified=agent[0], tried=agent[1])}
    )


def test_nothing_seen_is_the_prior_and_much_seen_is_the_rate():
    assert chance(known(), "m", 0.6) == pytest.approx(0.6)
    assert chance(known((900, 1000), (900, 1000)), "m", 0.2) == pytest.approx(0.9, abs=0.02)
    assert chance(known(), "unknown", 0.6) == pytest.approx(0.6)


def test_an_agent_of_its_own_kind_counts_for_more_than_the_others():
    same_kind, own = known((90, 100)), known((90, 100), (2, 40))
    assert chance(own, "m", 0.7) < 0.5 < chance(same_kind, "m", 0.7)


def test_what_was_read_from_the_prompt_counts_where_it_is_proven():
    assert chance(known((90, 100)).model_copy(update={"predicted": {"m": 0.12}}), "m", 0.7) == 0.12


def test_a_larger_model_is_expected_to_do_better_and_none_is_sure():
    sizes = [prior(Kind.WRITE, size, constrained=False) for size in (0.1, 0.5, 1.5, 7, 32, 400)]
    assert sizes == sorted(sizes) and 0.05 <= sizes[0] < sizes[-1] <= 0.95
    assert prior(Kind.CLASSIFY, 0.5, constrained=True) > prior(Kind.CLASSIFY, 0.5, constrained=False)


@pytest.mark.parametrize("count", [1, 2, 5, 15, 40])
def test_each_is_tried_now_and_then_and_all_together_never_too_often(count: int):
    models = [f"m{number}" for number in range(count)]
    unknown = explored_shares(models, Gains())
    seen = explored_shares(models, Gains(of_kind={model: Tally(tried=10_000, verified=9000) for model in models}))
    for shares in (unknown, seen):
        assert sum(shares) <= MOST_EXPLORED + 1e-9
        assert all(share >= min(EXPLORE, MOST_EXPLORED / count) - 1e-9 for share in shares)
    assert sum(seen) <= sum(unknown) + 1e-9


def test_who_is_tried_follows_the_draw_alone():
    models = ["a", "b"]
    draws = [to_explore(models, Gains(), number / 10_000) for number in range(10_000)]
    shares = explored_shares(models, Gains())
    assert [draws.count(model) / 10_000 for model in models] == pytest.approx(shares, abs=0.001)
    assert to_explore(models, Gains(), 0.9999) is None and to_explore([], Gains(), 0.0) is None
