"""Reading from a prompt how a model will do: one outcome at a time, in weights of a fixed size."""

from random import Random

import pytest

from governor.policy import learner
from governor.policy.learner import Weights, is_proven, learn, predict
from governor.policy.text_features import BUCKETS, features

HARD, EASY = "Solve the integral of the cosine", "Say hello to the visitor"


def taught(outcomes: int, seed: int = 1) -> Weights:
    weights, random = Weights(), Random(seed)
    for _ in range(outcomes):
        hard = random.random() < 0.5
        learn(weights, features(HARD if hard else EASY), 0.5, verified=not hard)
    return weights


def test_it_learns_what_counting_cannot_see_and_then_counts_as_proven():
    weights = taught(400)
    assert predict(weights, features(HARD), 0.5) < 0.15 < 0.85 < predict(weights, features(EASY), 0.5)
    assert is_proven(weights.examples, weights.loss, weights.base_loss)
    few = taught(50)
    assert not is_proven(few.examples, few.loss, few.base_loss)


def test_what_says_nothing_is_never_proven_and_moves_the_forecast_little():
    weights, random = Weights(), Random(2)
    for _ in range(1000):
        words = " ".join(random.choices("abcdefgh", k=5))
        learn(weights, features(words), 0.7, verified=random.random() < 0.7)
    assert not is_proven(weights.examples, weights.loss, weights.base_loss)
    assert predict(weights, features("something else entirely"), 0.7) == pytest.approx(0.7, abs=0.15)


def test_weights_come_back_as_they_were_kept_and_never_grow():
    weights = taught(100)
    kept = learner.to_bytes(weights)
    assert len(kept) == 4 * BUCKETS <= 64 * 1024
    back = learner.from_bytes(kept, examples=100, loss=weights.loss, base_loss=weights.base_loss)
    assert back is not None and predict(back, features(HARD), 0.5) == predict(weights, features(HARD), 0.5)
    assert learner.from_bytes(kept[:-1], examples=1, loss=0, base_loss=0) is None


@pytest.mark.parametrize("text", ["", "\x00\ud800", "x" * 1_000_000, "日本語" * 2000, "((((" * 4000])
def test_any_text_is_read(text: str):
    weights = Weights()
    for verified in (True, False):
        learn(weights, features(text), 0.999999, verified=verified)
    assert 0 < predict(weights, features(text), 0.0) < 1
