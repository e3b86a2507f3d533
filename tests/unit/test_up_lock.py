"""A second `hotdesk up` in the same state folder is refused; a dead one leaves nothing behind."""

import subprocess
import sys

import pytest

from deployments.up_lock import holder, up_lock
from governor.errors import NotReady
from governor.processes import identify
from governor.settings import Home

HOLD = """
import sys
from deployments.up_lock import up_lock
from governor.settings import home
with up_lock(home()):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold_in_a_child() -> "subprocess.Popen[str]":
    child = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout and child.stdout.readline() == "held\n"
    return child


def test_second_up_is_refused_and_names_the_first_and_both_commands(hotdesk_home: Home) -> None:
    child = hold_in_a_child()
    try:
        with pytest.raises(NotReady) as refused, up_lock(hotdesk_home):
            pass
    finally:
        child.communicate("", timeout=10)
    assert str(child.pid) in refused.value.happened
    assert refused.value.data["pid"] == child.pid
    assert "hotdesk status" in refused.value.remedy
    assert "hotdesk down" in refused.value.remedy


def test_lock_of_a_killed_up_is_free_and_its_holder_unknown(hotdesk_home: Home) -> None:
    child = hold_in_a_child()
    child.kill()
    child.communicate(timeout=10)
    assert holder(hotdesk_home) is None
    with up_lock(hotdesk_home):
        assert holder(hotdesk_home) == identify()


def test_lock_is_free_after_a_clean_end_and_after_an_error(hotdesk_home: Home) -> None:
    with pytest.raises(RuntimeError), up_lock(hotdesk_home):
        raise RuntimeError
    with up_lock(hotdesk_home):
        pass
    assert holder(hotdesk_home) is None


def test_two_state_folders_do_not_disturb_each_other(hotdesk_home: Home) -> None:
    other = Home(hotdesk_home.root.parent / "other")
    other.root.mkdir()
    with up_lock(hotdesk_home), up_lock(other):
        assert holder(other) == holder(hotdesk_home) == identify()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "\x00"])
def test_unreadable_lock_file_names_nobody(hotdesk_home: Home, content: str) -> None:
    hotdesk_home.up_lock.write_text(content)
    assert holder(hotdesk_home) is None
    with up_lock(hotdesk_home):
        pass
