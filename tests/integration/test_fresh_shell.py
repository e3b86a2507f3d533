"""A second terminal with the README's lines only, and one round of the whole fleet, as a newcomer has them."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from governor.settings import Home
from tests.conftest import free_port

CHECKOUT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ROUND_SECONDS = 420


def bare_environment(home: Path) -> dict[str, str]:
    """What a login shell has, and the state folder; nothing of Prefect's."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(home.parent), "HOTDESK_HOME": str(home), "LANG": "C.UTF-8"}


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
def test_one_round_of_the_fleet_writes_its_outputs_and_leaves_nothing_behind(tmp_path: Path, weights_file: Path):
    home = tmp_path / "home"
    (home / "weights").mkdir(parents=True)
    (home / "weights" / weights_file.name).symlink_to(weights_file)
    round_ = subprocess.Popen(
        [BIN / "hotdesk", "up", "--once", "--no-tour", "--port", str(free_port())],
        env={**bare_environment(home), "HOTDESK_ROUND_ITEMS": "1"},  # all ten agents, a third of the calls
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said = round_.communicate(timeout=ROUND_SECONDS)[0]
    finally:
        if round_.poll() is None:
            os.kill(round_.pid, signal.SIGTERM)
            round_.communicate(timeout=60)
    assert round_.returncode == 0, said
    assert re.search(r"10 written, 0 could-not, 0 skipped, 0 failed", said), said
    assert len(list((home / "out").rglob("*.md"))) == 10
    assert not still_running(home)


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
