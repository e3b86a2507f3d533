"""Whether a run of the governor counts as one that went in order."""

from collections.abc import Sequence

import pytest

from tests.benchmarks.rung_steps import in_order, rungs

UP = ("trim", "evict_idle", "pause_line", "force_evict")
DOWN = ("pause_line", "evict_idle", "trim", "normal")


@pytest.mark.parametrize(
    ("came", "shortcuts", "expected"),
    [
        ((*UP, *DOWN), False, True),
        (("trim", "normal"), False, True),
        (("trim", "evict_idle", "trim", "evict_idle", "trim", "normal"), False, True),
        (("evict_idle", "trim", "normal"), False, False),
        (("evict_idle", "trim", "normal"), True, True),
        ((*UP, "evict_idle", "trim", "normal"), True, False),
        (UP, False, False),
        ((), True, False),
    ],
)
def test_a_ladder_goes_one_rung_at_a_time_and_back_to_normal(came: Sequence[str], shortcuts: bool, expected: bool):
    assert in_order(came, shortcuts=shortcuts) is expected


def test_only_a_look_that_moved_the_ladder_counts_as_a_rung():
    taken = [
        {"rung": "evict_idle", "did": ["moved from trim to evict_idle", "evicted a"]},
        {"rung": "evict_idle", "did": ["evicted b"]},
    ]
    assert rungs(taken) == ["evict_idle"]
