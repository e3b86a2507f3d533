"""What `hotdesk doctor` counts for runs: forks share what was imported before, other processes do not."""

import pytest

from deployments.checks.machine import FORK_SERVER_MIB, runs_mib
from governor.policy.admitting import RUN_MIB
from governor.profile import PROCESS_MIB


@pytest.mark.parametrize(
    ("platform", "most_mib"),
    [("linux", FORK_SERVER_MIB + 14 * RUN_MIB), ("darwin", 14 * PROCESS_MIB), ("win32", 14 * PROCESS_MIB)],
)
def test_runs_in_all_places_take_so_much(platform: str, most_mib: float) -> None:
    assert runs_mib(14, platform=platform) == most_mib
