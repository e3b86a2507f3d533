"""What a schedule may say of the day: the truth, nearly the truth, or a lie.

Each takes the runs as they were scheduled and returns what comes and what is foretold instead. A run that is
only foretold arrives `NEVER`; one that nobody foretold has nothing foretold.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tests.benchmarks.days import DAY_SECONDS, MINUTE, NEVER, Foretold, Run, Schedule

HOUR = 60 * MINUTE


def _holds(runs: list[Run], _rng: random.Random) -> list[Run]:
    """What is foretold comes."""
    return runs


def _late(runs: list[Run], rng: random.Random) -> list[Run]:
    """Every run is up to twenty minutes late."""
    return [replace(run, arrives_s=run.arrives_s + rng.uniform(0, 20 * MINUTE)) for run in runs]


def _skipped(runs: list[Run], rng: random.Random) -> list[Run]:
    """A fifth of what is foretold finds nothing to do."""
    return [replace(run, arrives_s=NEVER) if run.foretold and rng.random() < 0.2 else run for run in runs]


def _unforeseen(runs: list[Run], rng: random.Random) -> list[Run]:
    """A fifth more runs, by hand, of any agent at any time of the day."""
    real = [run for run in runs if run.seats]
    by_hand = [_ad_hoc(run, rng) for run in rng.sample(real, len(real) // 5)]
    return [*runs, *by_hand]


def _ad_hoc(run: Run, rng: random.Random) -> Run:
    return Run(rng.uniform(0, DAY_SECONDS), run.seats, ())


def _said(runs: Sequence[Run], change: Callable[[Foretold], Foretold | None]) -> list[Run]:
    """The runs as they are, and beside them what is said instead of the truth, which no ticket strikes out."""
    said = [change(word) for run in runs for word in run.foretold]
    ghosts = [Run(NEVER, (), (word,)) for word in said if word is not None]
    return [*(replace(run, foretold=()) for run in runs if run.seats), *ghosts]


def _hours_off(runs: list[Run], rng: random.Random) -> list[Run]:
    """Every run is foretold one to six hours too early or too late."""
    return _said(
        runs, lambda word: replace(word, at_s=word.at_s + rng.choice((-1, 1)) * rng.uniform(1 * HOUR, 6 * HOUR))
    )


def _wrong_models(runs: list[Run], rng: random.Random) -> list[Run]:
    """The times are right, the models are drawn by lot."""
    models = sorted({model for run in runs for model, _ in run.seats})
    return _said(runs, lambda word: replace(word, model=rng.choice(models)))


def _swapped_models(runs: list[Run], rng: random.Random) -> list[Run]:
    """The times are right, and every model is taken for another one, all day the same."""
    models = sorted({model for run in runs for model, _ in run.seats})
    turned = dict(zip(models, models[1:] + models[:1], strict=True))
    return _said(runs, lambda word: replace(word, model=turned[word.model]))


def _never_come(runs: list[Run], rng: random.Random) -> list[Run]:
    """What is foretold never comes; as many runs come at other times that nobody foretold."""
    ghosts = [Run(NEVER, (), run.foretold) for run in runs]
    return [*ghosts, *(_ad_hoc(run, rng) for run in runs if run.seats)]


def _all_ad_hoc(runs: list[Run], rng: random.Random) -> list[Run]:
    """Every run comes at any time of the day, whatever the schedule says."""
    return [replace(run, arrives_s=rng.uniform(0, DAY_SECONDS)) if run.seats else run for run in runs]


def _reversed(runs: list[Run], _rng: random.Random) -> list[Run]:
    """The day is foretold backwards."""
    return _said(runs, lambda word: replace(word, at_s=DAY_SECONDS - word.at_s) if word.at_s < DAY_SECONDS else None)


def _contrary(runs: list[Run], _rng: random.Random) -> list[Run]:
    """The times are right, and each model is taken for the one that is in truth used again last."""
    uses = sorted((word.at_s, word.model) for run in runs for word in run.foretold)
    models = sorted({model for _, model in uses})
    next_s = dict.fromkeys(models, NEVER)
    said = []
    for at_s, model in reversed(uses):
        next_s[model] = at_s
        said.append(Run(NEVER, (), (Foretold(at_s, max(models, key=lambda other: next_s[other])),)))
    return [*_said(runs, lambda word: None), *said]


def _half_contrary(runs: list[Run], rng: random.Random) -> list[Run]:
    """Half of what is said is true, the other half its contrary."""
    lies = [run for run in _contrary(runs, rng) if not run.seats]
    said = _said(runs, lambda word: word if rng.random() < 0.5 else None)
    return [*said, *(lie for lie in lies if rng.random() < 0.5)]


MILD: Mapping[str, Schedule] = {"late": _late, "skipped": _skipped, "unforeseen": _unforeseen}
LIES: Mapping[str, Schedule] = {
    "hours off": _hours_off,
    "wrong models": _wrong_models,
    "swapped models": _swapped_models,
    "never come": _never_come,
    "all ad hoc": _all_ad_hoc,
    "reversed": _reversed,
    "contrary": _contrary,
    "half contrary": _half_contrary,
}
SCHEDULES: Mapping[str, Schedule] = {"holds": _holds, **MILD, **LIES}
