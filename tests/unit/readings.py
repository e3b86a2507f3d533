"""What a list of readings says, and that it says it as every sensor has to."""

from collections.abc import Sequence

from governor.policy.facts import Reading


def values(readings: Sequence[Reading]) -> dict[str, float | None]:
    """By name; what is unknown must say why, what is known has no excuse, and no name is used twice."""
    assert all(r.why for r in readings if r.value is None), readings
    assert not any(r.why for r in readings if r.value is not None), readings
    assert len({r.name for r in readings}) == len(readings), readings
    return {r.name: r.value for r in readings}
