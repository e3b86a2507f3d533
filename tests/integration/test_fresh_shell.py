"""A second terminal with the README's lines only, and one round of the whole fleet, as a newcomer has them."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from governor.settings import Home
from tests.integration.conftest import BIN, ONE_OF_EACH, ROUND_SECONDS, FirstRound, bare_environment

CHECKOUT = Path(__file__).parents[2]


def shell(where: Home, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        cwd=CHECKOUT,
        env=bare_environment(where.root),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_readme_lines_run_an_agent_from_a_fresh_shell(fleet_server: Home):
    done = shell(fleet_server, f'eval "$({BIN}/hotdesk env)"; prefect deployment run digest/news')
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Created flow run" in done.stdout


def test_status_in_a_fresh_shell_is_json(fleet_server: Home):
    done = shell(fleet_server, f"{BIN}/hotdesk status --json")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), dict)


def test_ask_says_which_model_and_why(fleet_server: Home):
    text = "The council closes the bridge for repairs until May. Buses take another route."
    done = shell(fleet_server, f'{BIN}/hotdesk ask --kind summarise "{text}"')
    assert "smollm2-135m" in done.stderr, done.stderr
    assert "tier heavy" in done.stderr


def test_an_unknown_kind_names_the_kinds(fleet_server: Home):
    done = shell(fleet_server, f'{BIN}/hotdesk ask --kind dance "now"')
    assert done.returncode == 1
    assert "summarise" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(ROUND_SECONDS + 60)
def test_one_round_of_the_fleet_writes_its_outputs_and_leaves_nothing_behind(first_round: FirstRound):
    code, said = first_round.ends()
    assert code == 0, said
    assert re.search(rf"{len(ONE_OF_EACH)} written, 0 could-not, 0 skipped, 0 failed", said), said
    assert len(list((first_round.home / "out").glob("*/*.provenance.json"))) == len(ONE_OF_EACH)
    assert not still_running(first_round.home)


def still_running(home: Path) -> list[str]:
    """Processes whose environment names this state folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"HOTDESK_HOME={home}\0".encode() in entry.read_bytes() + b"\0":
                found.append((entry.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found
