"""Ten thousand schedules of the line's own code in a seeded world, and every rule of it broken on purpose."""

import re
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.simulation.conftest import Played
from tests.simulation.mutations import MUTATIONS, Outcome, try_out
from tests.simulation.scenario import Schedule


@pytest.mark.timeout(3700)
def test_every_invariant_holds_in_every_schedule(played: Played):
    said = played.result()
    assert played.process.returncode == 0, f"replay it: python -m tests.simulation --seed N\n{said[-8000:]}"
    found = re.search(r"(\d+) schedules in .* every invariant held", said)
    assert found is not None and int(found[1]) == played.schedules


def test_one_seed_replays_one_schedule():
    first, second = Schedule(4711).play(), Schedule(4711).play()
    assert first.world.log == second.world.log
    assert len(first.world.log) > 20


@pytest.mark.parametrize(
    ("seed", "what_happens"),
    [
        (52_918, "the line is paused while the head asks; it dies giving the late lease back, and so does its reaper"),
        (70_965, "who pauses the line is stopped over a withdrawn offer, for longer than anybody queues"),
    ],
)
def test_a_schedule_that_once_broke_an_invariant_holds(seed: int, what_happens: str):
    Schedule(seed).play()


def test_schedules_differ_and_hold_every_kind_of_trouble():
    plans = [Schedule(seed) for seed in range(200)]
    for plan in plans:
        plan.world.close()
    faults = [plan.plan.faults for plan in plans]
    for name in ("kill", "stop", "cancel", "database", "silence", "slow"):
        assert any(getattr(fault, name) for fault in faults), name
    for name in ("restarts", "jumps", "strangers", "overstay", "by_hand", "governed", "remote"):
        assert any(getattr(plan.plan, name) for plan in plans), name
    assert any(plan.pausing.plans for plan in plans)
    assert any(plan.batches.most > 1 for plan in plans)


def test_batches_give_the_desk_up_in_some_schedules():
    assert any(Schedule(seed).play().batches.given_up for seed in range(40))


# That a broken rule is noticed is about the simulation, not about the line: a third of them each time, all with --long.
OFTEN = {mutation.rule for mutation in MUTATIONS[::3]}
RULES = [pytest.param(m.rule, marks=() if m.rule in OFTEN else pytest.mark.long) for m in MUTATIONS]


@pytest.fixture(scope="module")
def outcomes(pytestconfig: pytest.Config):
    """Two mutations at a time: each is a process of its own."""
    wanted = [m for m in MUTATIONS if m.rule in OFTEN or pytestconfig.getoption("--long")]
    with ThreadPoolExecutor(2) as pool:
        yield {mutation.rule: pool.submit(try_out, mutation) for mutation in wanted}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("rule", RULES)
def test_a_broken_rule_is_noticed(outcomes: dict[str, "Future[Outcome]"], rule: str):
    outcome = outcomes[rule].result(timeout=390)
    assert outcome.noticed, f"nothing fails without it; {outcome.mutation.noticed_by} said {outcome.said}"
