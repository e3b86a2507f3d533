"""The shield holds: against two signals at once, at the end of the interpreter, and without a thread to be had."""

import subprocess
import sys

import pytest

from governor import shield
from governor.shield import shielded

TWO_SIGNALS = """
import signal, os, time, threading
from governor.shield import shielded
class Stop(BaseException): pass
def stop(*_): raise Stop
signal.signal(signal.SIGUSR1, stop); signal.signal(signal.SIGUSR2, stop)
broken = 0
for _ in range(150):
    done = []
    def act():
        os.kill(os.getpid(), signal.SIGUSR1); os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(0.002); done.append(1)
    try: shielded(act)
    except Stop: pass
    broken += not done
print(broken)
"""
AT_EXIT = """
from governor.shield import shielded
class Late:
    def __del__(self): shielded(lambda: print('done', flush=True))
late = Late(); late.me = late
import sys; sys.modules['keep'] = late
"""


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout


def test_two_signals_at_once_do_not_cut_it_off():
    assert run(TWO_SIGNALS).strip() == "0"


def test_at_the_end_of_the_interpreter_it_is_done_without_a_thread():
    assert "done" in run(AT_EXIT)


def test_without_a_thread_to_be_had_it_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch):
    def none(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    done = []
    monkeypatch.setattr(shield._thread, "start_new_thread", none)
    shielded(lambda: done.append(1))
    assert done == [1]
