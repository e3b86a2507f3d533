"""A process is known by boot, namespace, pid and start time."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from governor.processes import Life, end, identify, is_running, life, wait_dead


@pytest.fixture
def sleeper():
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield child
    child.kill()
    child.wait(10)


def test_this_process_is_alive():
    assert life(identify()) is Life.ALIVE


def test_a_killed_but_unreaped_child_is_dead(sleeper):
    known = identify(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert life(known) is Life.DEAD


def test_a_number_runs_until_its_process_ended_and_not_while_it_is_unreaped(sleeper):
    assert is_running(os.getpid())
    assert is_running(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(sleeper.pid)
    assert not is_running(2**22 + 1)


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot_id": "another boot"}])
def test_a_reused_pid_or_another_boot_is_dead(change):
    assert life(replace(identify(), **change)) is Life.DEAD


def test_a_foreign_pid_namespace_is_unknown_never_dead():
    assert life(replace(identify(), pid_namespace="pid:[1]")) is Life.UNKNOWN


def test_end_stops_a_process_and_says_so(sleeper):
    known = identify(sleeper.pid)
    assert end(known, grace_seconds=5)
    assert life(known) is Life.DEAD


def test_end_kills_what_ignores_sigterm():
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert end(identify(child.pid), grace_seconds=0.2)
    child.stdout.close()


def test_end_never_touches_another_process_with_the_same_pid(sleeper):
    stranger = replace(identify(sleeper.pid), start_ticks=1)
    assert end(stranger)
    assert sleeper.poll() is None


def test_waiting_for_a_living_process_is_bounded(sleeper):
    assert not wait_dead(identify(sleeper.pid), 0.05)


def test_no_such_process_is_an_error():
    with pytest.raises(ProcessLookupError):
        identify(2**22 + 1)


def test_end_neither_touches_nor_buries_a_process_it_cannot_judge(sleeper):
    foreign = replace(identify(sleeper.pid), pid_namespace="pid:[1]")
    assert not end(foreign, grace_seconds=0.1)
    assert sleeper.poll() is None
