"""Tests over several runs: which are flaky, which are broken, and since when. Pure."""

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

from blocks.checking.clusters import Cluster, id_of
from blocks.reading.junit import Case


class Health(StrEnum):
    """Flaky: it went back and forth. Broken: it fails since some run. Mended: it passes since some run."""

    BROKEN = "broken"
    FLAKY = "flaky"
    MENDED = "mended"
    SOUND = "sound"


def health(outcomes: Sequence[str]) -> Health:
    """Of one test, by its outcomes in the order of the runs; skipped ones say nothing.

    What passes since it last failed is mended, what fails since some run is broken, and back and forth is flaky.
    """
    told = [outcome == "failed" for outcome in outcomes if outcome != "skipped"]
    changes = sum(one != other for one, other in pairwise(told))
    if not any(told):
        return Health.SOUND
    if changes > 1:
        return Health.FLAKY
    return Health.BROKEN if told[-1] else Health.MENDED


def unsound(cases: Sequence[Case]) -> list[tuple[Cluster, Health, list[str]]]:
    """Tests that failed in some run, the flaky first: each as a cluster of its failures, with its outcomes."""
    by_name = dict[str, list[Case]]()
    for case in cases:
        by_name.setdefault(case.name, []).append(case)
    found = []
    for name, runs in by_name.items():
        failed = [case for case in runs if case.outcome == "failed"]
        if failed:
            state = health([case.outcome for case in runs])
            level = "error" if state in (Health.BROKEN, Health.FLAKY) else "info"
            cluster = Cluster(id_of(name), name, len(failed), failed[-1].message, level)
            found.append((cluster, state, [case.outcome for case in runs]))
    order = [Health.FLAKY, Health.BROKEN, Health.MENDED]
    return sorted(found, key=lambda row: (order.index(row[1]), -row[0].count, row[0].template))
