"""Reads from a text how likely a model is to do well with it: a logistic regression that learns one outcome at a time.

It corrects what counting says (`policy.gains`), so a text it can read nothing from leaves that as it is. Pure: the
weights are bytes that somebody else keeps, no word of a text is among them, and their size never grows. What in a text
is looked at is said in `policy.text_features`.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from governor.policy.text_features import BUCKETS, Features

# Weights are whole numbers of this size: 16 bits hold log odds up to 8, and no step that matters is smaller.
STEP = 1 / 4096
MOST_STEPS = 32767
# Before anything is learned, a whole text may move the log odds by sqrt(0.45) = 0.67 either way: from 70% to 54 or 82%.
# On 7,032 exam questions 0.3 to 0.6 made no difference, 0.2 and 0.9 were worse.
PRIOR_VARIANCE = 0.45
# p (1 - p) at 72%: what one outcome tells. Taken as fixed, so that how often a feature was seen says how sure it is.
INFORMATION = 0.2
# A feature that was seen more often learns on as if it had been seen so often: models and prompts change.
MEMORY = 5000
# Features come together: words of one text move the forecast as a group, so each is as settled as its group is. This
# share of the group's weight counts besides its own (0: the forecast for everything follows the last few outcomes, and
# the worst tenth was off by 5.6 points; 0.05: by 3.9, of which 3.1 are chance; 0.1: the same, but it learns slowly).
TOGETHER = 0.05
# How much a word counts that is in every text; one that is in a hundredth of them counts 4.6 more.
LEAST_RARITY = 0.3
MOST_SEEN = 65535
# Nothing read from a text is surer than that.
LEAST_CHANCE, MOST_CHANCE = 0.02, 0.98
# It counts once it saw so many outcomes and was better by twice what chance alone makes of it: the difference of the
# two losses has a spread of 0.25 an example (measured on the same questions, either model).
LEAST_EXAMPLES = 200
SPREAD_OF_DIFFERENCE, STANDARD_ERRORS = 0.25, 2.0


def _shorts(kind: str) -> "array[int]":
    return array(kind, bytes(2 * BUCKETS))


@dataclass
class Weights:
    """What was learned about one model and kind of work: 64 KiB, whatever it saw.

    Attributes:
        values: log odds of each bucket in steps. seen: texts that had it.
        examples: outcomes it learned from. loss, base_loss: sums of the log loss of what it said before it knew each of
            them, and of what counting said.
    """

    values: "array[int]" = field(default_factory=lambda: _shorts("h"))
    seen: "array[int]" = field(default_factory=lambda: _shorts("H"))
    examples: int = 0
    loss: float = 0.0
    base_loss: float = 0.0


def to_bytes(weights: Weights) -> bytes:
    """As they are kept, in this machine's order of bytes: a state folder stays on its machine."""
    return weights.values.tobytes() + weights.seen.tobytes()


def from_bytes(kept: bytes, *, examples: int, loss: float, base_loss: float) -> Weights | None:
    """As they were kept; None when the bytes are of another release or damaged, which is to begin anew."""
    if len(kept) != 4 * BUCKETS:
        return None
    half = 2 * BUCKETS
    return Weights(array("h", kept[:half]), array("H", kept[half:]), examples, loss, base_loss)


def is_proven(examples: int, loss: float, base_loss: float) -> bool:
    """Whether reading the text was better than counting, clearly and for long enough, on outcomes it did not know."""
    return examples >= LEAST_EXAMPLES and base_loss - loss > STANDARD_ERRORS * SPREAD_OF_DIFFERENCE * examples**0.5


def predict(weights: Weights, features: Features, counted: float) -> float:
    """Chance that the answer passes, given what counting says of it. In (0, 1)."""
    return _read(weights, features, counted).chance


def learn(weights: Weights, features: Features, counted: float, *, verified: bool) -> float:
    """Learn from one outcome, in place; returns what was predicted before."""
    read = _read(weights, features, counted)
    weights.loss += log_loss(read.chance, verified)
    weights.base_loss += log_loss(counted, verified)
    surprise = ((1.0 if verified else 0.0) - read.chance) / (1 + read.chance * (1 - read.chance) * read.variance)
    values, seen = weights.values, weights.seen
    for (bucket, _), move in zip(_buckets(features), read.moves, strict=True):
        value = values[bucket] + round(move * surprise / STEP)
        values[bucket] = max(-MOST_STEPS, min(MOST_STEPS, value))
        if seen[bucket] < MOST_SEEN:
            seen[bucket] += 1
    weights.examples += 1
    return read.chance


def log_loss(chance: float, verified: bool) -> float:
    """What a forecast costs once the outcome is known."""
    sure = min(MOST_CHANCE, max(LEAST_CHANCE, chance))
    return -math.log(sure if verified else 1 - sure)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A prediction; `moves`: how far a full surprise moves each weight; `variance`: of the log odds read."""

    chance: float
    variance: float
    moves: Sequence[float]


def _read(weights: Weights, features: Features, counted: float) -> _Reading:
    values, seen = weights.values, weights.seen
    odds, variance, moves = 0.0, 0.0, []
    sizes = _sizes(weights, features)
    group = TOGETHER * sum(map(abs, sizes))
    for (bucket, _), x in zip(_buckets(features), sizes, strict=True):
        certainty = 1 + PRIOR_VARIANCE * INFORMATION * abs(x) * (abs(x) + group) * min(MEMORY, seen[bucket])
        move = PRIOR_VARIANCE / certainty * x
        odds += values[bucket] * x
        variance += move * x
        moves.append(move)
    sure = min(MOST_CHANCE, max(LEAST_CHANCE, counted))
    odds = math.log(sure / (1 - sure)) + odds * STEP
    # The mean of a logistic over what the log odds may still be (MacKay 1992): unsure means closer to even.
    chance = 1 / (1 + math.exp(-odds / math.sqrt(1 + variance * math.pi / 8)))
    return _Reading(min(MOST_CHANCE, max(LEAST_CHANCE, chance)), variance, moves)


def _buckets(features: Features) -> list[tuple[int, float]]:
    return features.words + features.signals


def _sizes(weights: Weights, features: Features) -> list[float]:
    """How much each feature counts: a word more the rarer it is, all words of a text together as much as one signal."""
    seen, log = weights.seen, math.log
    most = log(1 + min(weights.examples, MOST_SEEN)) + LEAST_RARITY
    sizes = [scale * (most - log(1 + seen[bucket])) for bucket, scale in features.words]
    norm = math.sqrt(sum(size * size for size in sizes)) or 1.0
    return [size / norm for size in sizes] + [value for _, value in features.signals]
