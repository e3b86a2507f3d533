"""The word for a run's process says which one it is, so that a reused number is nobody's."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from deployments.run_process import hears, identity_of, is_elsewhere, is_gone, named
from governor.processes import identify

HERE = socket.gethostname()


@pytest.fixture(scope="module")
def gone_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.fixture
def default_pid() -> Iterator[int]:
    """A process that handles none of our signals."""
    child = subprocess.Popen(["/bin/sleep", "60"])
    yield child.pid
    child.kill()
    child.wait()


def test_a_name_leads_back_to_the_very_process():
    assert identity_of(named(os.getpid())) == identify()
    assert not is_gone(named(os.getpid()))


def test_a_process_that_has_ended_is_named_without_its_start(gone_pid: int):
    assert named(gone_pid) == f"{HERE}:{gone_pid}"


def test_another_process_of_that_number_is_not_meant():
    assert is_gone(f"{HERE}:{os.getpid()}:1")


@pytest.mark.parametrize(
    ("name", "elsewhere"),
    [("", True), ("12", True), ("another-host:12:34", True), (f"{HERE}:12:34", False), (f"{HERE}:12", False)],
)
def test_a_name_of_another_host_or_of_none_is_elsewhere_and_never_gone(name: str, elsewhere: bool):
    assert is_elsewhere(name) is elsewhere
    if elsewhere:
        assert not is_gone(name)
        assert identity_of(name) is None


@pytest.mark.parametrize("name", [f"{HERE}:12", f"{HERE}:12:x", f"{HERE}:-1:5", f"{HERE}:12:34:56"])
def test_a_name_that_does_not_say_which_process_is_nobodys(name: str):
    assert identity_of(name) is None


def test_without_a_start_time_only_a_free_number_is_gone(gone_pid: int):
    assert is_gone(f"{HERE}:{gone_pid}")
    assert not is_gone(f"{HERE}:{os.getpid()}")
    assert not is_gone(f"{HERE}:1")  # there, and somebody else's
    assert not is_gone(f"{HERE}:-1")


def test_who_handles_or_ignores_a_signal_hears_it_and_nobody_else(default_pid: int, gone_pid: int):
    before = signal.signal(signal.SIGUSR1, lambda *_: None), signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        assert hears(os.getpid(), signal.SIGUSR1)
        assert hears(os.getpid(), signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR1, before[0])
        signal.signal(signal.SIGUSR2, before[1])
    assert not hears(default_pid, signal.SIGUSR1)
    assert not hears(gone_pid, signal.SIGUSR1)
