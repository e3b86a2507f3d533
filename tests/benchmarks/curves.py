"""How a figure of a trace goes over time: straight lines between points, so that a reader sees its shape."""

from bisect import bisect_right
from collections.abc import Iterator


class Curve:
    """Straight lines through (seconds, value), still before the first point and after the last."""

    def __init__(self, *points: tuple[float, float]) -> None:
        self.points = points
        self._seconds = [seconds for seconds, _ in points]
        if self._seconds != sorted(self._seconds) or not points:
            raise ValueError(f"a curve goes forward in time: {points}")

    def at(self, at_s: float) -> float:
        """The value at a time."""
        if len(self.points) == 1:  # most are still, and there are a million steps
            return self.points[0][1]
        place = bisect_right(self._seconds, at_s)
        if place == 0 or place == len(self.points):
            return self.points[max(0, place - 1)][1]
        (from_s, start), (to_s, end) = self.points[place - 1], self.points[place]
        return start + (end - start) * (at_s - from_s) / (to_s - from_s)


def still(value: float = 0.0) -> Curve:
    """The same all the time."""
    return Curve((0.0, value))


def faster_and_faster(from_s: float, seconds: float, most: float) -> Iterator[tuple[float, float]]:
    """From 0 to `most` with the square of the time, as a program that starts reads first and uploads later."""
    for step in range(11):
        yield from_s + seconds * step / 10, most * (step / 10) ** 2


def breathing(middle: float, swing: float, period_s: float, until_s: float) -> Curve:
    """Up and down around `middle`, as windows that open and close."""
    turns = range(int(2 * until_s / period_s) + 1)
    return Curve(*((turn * period_s / 2, middle + (swing if turn % 2 else -swing)) for turn in turns))
