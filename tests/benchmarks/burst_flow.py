"""The agent of `burst`: it takes the desk as agents do, holds it for some seconds, and notes what happened when.

It imports what an agent's flow file imports, so that a preload counts for as much as it does in use. The ticket, the
turn, Prefect's lease and the sentinel beside the seat are the real ones; no model is loaded, and nothing is read or
written. Loaded by its path, as every flow file is, so it stands alone.
"""

import json
import os
import time
from pathlib import Path

from prefect import flow
from prefect.runtime import deployment, flow_run

from blocks.agent import agent
from blocks.checking.labels import by_words
from blocks.reading.messages import read_messages
from blocks.reading.prompts import read_prompt
from blocks.untrusted import fence
from blocks.writing.csv_files import csv_text
from blocks.writing.markdown import table
from blocks.writing.rows_database import grown
from governor.desk import line_of
from governor.effects import RealEffects
from governor.lease import PrefectLimit
from governor.processes import identify
from governor.sentinel import STOP_SECONDS, Sentinel, watch_as
from governor.settings import home
from governor.ticket import Errand
from governor.turn import Turn

# What an agent's flow has at hand at its first line, and this one does not use.
AT_HAND = (agent, by_words, read_messages, read_prompt, fence, csv_text, table, grown)
LINE, SLOTS = "gpu", 1
# Nobody in a benchmark runs out of either: a run that hangs is ended by the benchmark's own bound.
PATIENCE_SECONDS = BUDGET_SECONDS = 3600.0
NOTES = "burst.jsonl"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@flow(name="burst", persist_result=False)
def burst(hold_seconds: float) -> None:
    """Wait in line, hold the desk, hand it on."""
    first = {
        "first_line_at": time.time(),
        "since_start_s": _since_start_s(),
        "cpu_at_first_line_s": time.process_time(),
    }
    _note(first)
    with PrefectLimit(LINE) as limit:
        turn = _new_turn(limit)
        try:
            turn.take()
            turn.wait()
            turn.start_renewing()
            seated_at = time.time()
            beside = turn.effects.background(Sentinel(lambda: watch_as("sentinel")).run, "sentinel")
            time.sleep(hold_seconds)
            beside.stop(STOP_SECONDS)
        finally:
            turn.rise()
    _note({"seated_at": seated_at, "left_at": time.time(), "cpu_at_end_s": time.process_time()})


def _new_turn(limit: PrefectLimit) -> Turn:
    """A turn at the line, as `governor.desk` makes it."""
    line = line_of(LINE)
    line.ensure_slots(SLOTS)
    errand = Errand(LINE, f"burst/{deployment.name or 'by-hand'}", "none", PATIENCE_SECONDS)
    return Turn(line, limit, RealEffects(home().bells), errand, slots=SLOTS, budget_seconds=BUDGET_SECONDS)


def _since_start_s() -> float:
    """Seconds since this process was started or forked; the kernel counts in hundredths."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - identify().start_ticks / TICKS_PER_SECOND


def _note(facts: dict[str, float]) -> None:
    """One line of this run; a short append is written whole, whoever else writes."""
    line = json.dumps({"run": str(flow_run.id), "pid": os.getpid(), **facts}) + "\n"
    handle = os.open(Path(home().root) / NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)
