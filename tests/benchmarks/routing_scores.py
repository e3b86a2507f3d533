"""How good an order of prompts is for sending the first of them to a larger model, and how honest a forecast is."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from random import Random


def apgr(scores: Sequence[float], gains: Sequence[float]) -> float:
    """Area under (share of the quality gap recovered) against (share of calls sent to the strong model).

    Args:
        scores: who is sent first has the highest; equal ones are sent in no order, which is the mean of all orders.
        gains: strong minus weak, by prompt. Their sum is the gap, and is not 0.
    """
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    area, recovered = 0.0, 0.0
    for _, tied in groupby(order, key=lambda index: scores[index]):
        indices = list(tied)
        more = sum(gains[index] for index in indices)
        area += len(indices) * (recovered + more / 2)
        recovered += more
    return area / len(scores) / sum(gains)


def folds(count: int, parts: int, seed: int) -> Iterator[tuple[list[int], list[int]]]:
    """What is learned from, in the order in which it comes, and what is scored; every index is scored once."""
    order = list(range(count))
    Random(seed).shuffle(order)
    for part in range(parts):
        scored = order[part::parts]
        left_out = set(scored)
        learned = [index for index in order if index not in left_out]
        Random(seed * parts + part).shuffle(learned)
        yield learned, scored


def worst_decile_points(predicted: Sequence[float], gains: Sequence[float]) -> tuple[float, float]:
    """By how much the forecast of a tenth is off at most, and what chance alone makes of one tenth (both in points)."""
    order = sorted(range(len(gains)), key=lambda index: predicted[index])
    tenths = [order[part * len(order) // 10 : (part + 1) * len(order) // 10] for part in range(10)]
    off = [abs(_mean([predicted[i] - gains[i] for i in tenth])) for tenth in tenths]
    mean = _mean(gains)
    spread = _mean([(gain - mean) ** 2 for gain in gains]) ** 0.5
    return 100 * max(off), 100 * spread / len(tenths[0]) ** 0.5


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
