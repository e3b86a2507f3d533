"""A container on the same state folder: its pids say nothing here, the lock of its process does."""

import subprocess
from collections.abc import Sequence

import pytest

from tests.crash.actor import START_SECONDS
from tests.crash.conftest import Stages

# Nobody can watch a process of another namespace: its lock is looked at four times a second by the first two.
LOOKED_AT_SECONDS = 2.0
WAYS = (
    ("unshare", "--pid", "--fork", "--mount-proc"),
    ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"),
)


@pytest.fixture(scope="session")
def unshare() -> Sequence[str]:
    """How to start a process in a pid namespace of its own; skips where that is not permitted."""
    said = []
    for way in WAYS:
        try:
            done = subprocess.run([*way, "true"], capture_output=True, text=True, timeout=START_SECONDS)
        except FileNotFoundError:
            pytest.skip("NOT TESTED: there is no `unshare` here, so no pid namespace can be made")
        if done.returncode == 0:
            return way
        said.append(done.stderr.strip())
    pytest.skip(f"NOT TESTED: pid namespaces are not permitted here: {'; '.join(said)}")


def test_a_holder_in_another_namespace_is_not_robbed_while_it_lives(stages: Stages, unshare: Sequence[str]):
    stage = stages("gpu:container:0")
    holder = stage.seat("holder", unshare=unshare)
    assert stage.slot.pid == 1
    waiter = stage.enter("waiter", patience_seconds=1.5)
    assert waiter.ends("raised").startswith("LeftLine")
    assert holder.is_seated()
    heir = stage.line_up("heir")
    assert heir.sits(since=holder.rises()) == 2
    stage.comes_to_rest()


def test_the_next_one_sits_down_after_kill_9_of_a_holder_in_another_namespace(stages: Stages, unshare: Sequence[str]):
    stage = stages("gpu:container:1")
    holder = stage.seat("holder", unshare=unshare)
    heir = stage.line_up("heir")
    assert heir.sits(LOOKED_AT_SECONDS, since=holder.kill()) == 2
    stage.comes_to_rest()


def test_a_waiter_in_another_namespace_sees_kill_9_of_a_holder_here(stages: Stages, unshare: Sequence[str]):
    stage = stages("gpu:container:2")
    holder = stage.seat("holder")
    heir = stage.line_up("heir", unshare=unshare)
    assert heir.sits(LOOKED_AT_SECONDS, since=holder.kill()) == 2
    stage.comes_to_rest()


def test_a_waiter_that_died_in_another_namespace_is_passed_over(stages: Stages, unshare: Sequence[str]):
    stage = stages("gpu:container:3")
    holder = stage.seat("holder")
    stage.line_up("dead", unshare=unshare).dies_by_hand()
    heir = stage.line_up("heir")
    heir.sits(since=holder.rises())
    stage.comes_to_rest()
