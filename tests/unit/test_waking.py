"""Bells, shields, presence and the card's lock: each on real processes, pipes and signals."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from governor import presence
from governor.bells import Bell, ring, sweep_bells
from governor.card import at_card
from governor.errors import LeftLine
from governor.processes import Life, identify
from governor.settings import Home
from governor.shield import shielded

LONG = 20.0


def seconds_of(act) -> float:
    started = time.monotonic()
    act()
    return time.monotonic() - started


@pytest.fixture
def sleeper():
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield child
    child.kill()
    child.wait(10)


def test_a_ring_before_the_wait_is_heard(tmp_path: Path):
    bell = Bell(tmp_path / "bells", 7)
    assert ring(tmp_path / "bells", 7)
    assert seconds_of(lambda: bell.wait((), LONG)) < 1
    assert seconds_of(lambda: bell.wait((), 0.05)) >= 0.05  # and is heard once
    bell.close()
    assert not ring(tmp_path / "bells", 7)


def test_the_end_of_a_watched_process_is_heard(tmp_path: Path, sleeper):
    bell = Bell(tmp_path, 7)
    threading.Timer(0.1, sleeper.kill).start()
    assert seconds_of(lambda: bell.wait((identify(sleeper.pid),), LONG)) < 2
    bell.close()


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot_id": "another"}])
def test_a_process_that_is_dead_already_ends_the_wait_at_once(tmp_path: Path, change):
    bell = Bell(tmp_path, 7)
    assert seconds_of(lambda: bell.wait((replace(identify(), **change),), LONG)) < 1
    bell.close()


def test_a_bell_that_cannot_be_hung_looks_often_instead(tmp_path: Path):
    (tmp_path / "bells").write_text("not a folder")
    bell = Bell(tmp_path / "bells", 7)
    assert seconds_of(lambda: bell.wait((), LONG)) < 2
    bell.close()


def test_bells_of_the_dead_are_taken_down(tmp_path: Path):
    mine, _other = Bell(tmp_path, 1), Bell(tmp_path, 2)
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    _other._fifo, gone = None, _other._fifo
    os.close(gone or 0)
    assert sweep_bells(tmp_path) == 1
    assert ring(tmp_path, 1)
    assert not ring(tmp_path, 2)
    mine.close()


class Interrupted(BaseException):
    pass


def test_a_signal_waits_until_the_shielded_work_is_done():
    done = []

    def work() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.2)  # long enough for the signal to reach the main thread
        done.append(1)

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(Interrupted):
            shielded(work)
        assert done == [1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_the_shielded_work_raises_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        shielded(lambda: print(1 / 0))


def test_a_lock_proves_life_and_death_where_pids_say_nothing(hotdesk_home: Home):
    code = "from governor.presence import announce; announce(); print('ready', flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdin is not None
    child.stdout.readline()
    seen_from_outside = replace(identify(child.pid), pid_namespace="pid:[1]")
    own_file = presence._file(hotdesk_home.presence, identify(child.pid))
    own_file.rename(presence._file(hotdesk_home.presence, seen_from_outside))
    assert presence.judge(seen_from_outside) is Life.ALIVE
    child.kill()
    child.wait(10)
    child.stdout.close()
    child.stdin.close()
    assert presence.judge(seen_from_outside) is Life.DEAD
    (hotdesk_home.presence / "a_b_c_d").touch()
    assert presence.sweep() == 0
    assert presence.judge(seen_from_outside) is Life.DEAD  # the proof is not swept away
    presence._file(hotdesk_home.presence, seen_from_outside).unlink()
    assert presence.judge(seen_from_outside) is Life.UNKNOWN


def test_a_fork_announces_itself_and_leaves_the_parents_lock_alone(hotdesk_home: Home):
    parent = presence.announce()
    pid = os.fork()
    if pid == 0:
        mine = presence.announce()
        os._exit(0 if mine.pid == os.getpid() and mine != parent else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    code = (
        "import sys; from governor import presence; from pathlib import Path; import fcntl, os\n"
        "handle = os.open(sys.argv[1], os.O_RDONLY)\n"
        "try: fcntl.lockf(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)\n"
        "except OSError: print('locked')"
    )
    file = presence._file(hotdesk_home.presence, parent)
    assert "locked" in subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True).stdout


def test_two_folders_take_turns_at_one_card_and_the_waiter_is_told_who_has_it(tmp_path: Path, hotdesk_home: Home):
    code = (
        "import sys; from pathlib import Path; from governor.card import at_card\n"
        "with at_card('GPU-1', 1, wait=lambda s: False, folder=Path(sys.argv[1])): print('in', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "cards"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None and other.stdin is not None
    other.stdout.readline()
    refused = at_card("GPU-1", 1, wait=lambda _: False, folder=tmp_path / "cards")
    with pytest.raises(LeftLine, match=f"pid {other.pid}") as error, refused:
        pass
    assert str(hotdesk_home.root) in error.value.happened
    with at_card("GPU-1", 2, wait=lambda _: False, folder=tmp_path / "cards"):
        pass  # a profile with two seats finds the second one free
    with at_card("GPU-2", 1, wait=lambda _: False, folder=tmp_path / "cards"):
        pass  # and so does another card
    other.kill()
    other.wait(10)
    other.stdout.close()
    other.stdin.close()
    with at_card("GPU-1", 1, wait=lambda _: False, folder=tmp_path / "cards"):
        pass  # the kernel dropped the lock of the dead


def test_no_card_needs_no_lock(tmp_path: Path):
    with at_card(None, 1, wait=lambda _: False, folder=tmp_path / "cards"):
        assert not (tmp_path / "cards").exists()
