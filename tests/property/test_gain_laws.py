"""Laws of what is learned about models, for any history."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.policy.gains import Gains, Tally, chance
from governor.policy.learner import Weights, learn, predict
from governor.policy.text_features import features

tallies = st.integers(0, 500).flatmap(lambda n: st.builds(Tally, tried=st.just(n), verified=st.integers(0, n)))


@given(tallies, tallies, st.floats(0, 1))
def test_a_chance_is_never_sure(of_kind: Tally, of_agent: Tally, prior: float):
    assert 0 < chance(Gains(of_kind={"m": of_kind}, of_agent={"m": of_agent}), "m", prior) < 1


@given(tallies, tallies, st.floats(0.05, 0.95))
def test_one_more_that_passed_never_lowers_it_and_one_that_failed_never_raises_it(
    of_kind: Tally, of_agent: Tally, prior: float
):
    def after(passed: int) -> float:
        more = [Tally(tried=t.tried + 1, verified=t.verified + passed) for t in (of_kind, of_agent)]
        return chance(Gains(of_kind={"m": more[0]}, of_agent={"m": more[1]}), "m", prior)

    before = chance(Gains(of_kind={"m": of_kind}, of_agent={"m": of_agent}), "m", prior)
    assert after(0) <= before + 1e-9 and after(1) >= before - 1e-9


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_it_comes_to_the_rate_that_is_seen(rate: float, prior: float):
    seen = Tally(tried=20_000, verified=round(20_000 * rate))
    assert chance(Gains(of_kind={"m": seen}, of_agent={"m": seen}), "m", prior) == pytest.approx(rate, abs=0.01)


@given(st.lists(st.tuples(st.text(max_size=60), st.booleans()), max_size=25), st.text(max_size=60), st.floats(0, 1))
def test_a_forecast_is_a_chance_whatever_was_learned(seen: list[tuple[str, bool]], text: str, counted: float):
    weights = Weights()
    for words, verified in seen:
        learn(weights, features(words), counted, verified=verified)
    assert 0 < predict(weights, features(text), counted) < 1
