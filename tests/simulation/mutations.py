"""The rules of the line, each broken on purpose: for every one some test must fail.

Each mutation replaces one piece of text in a copy of the tree and runs the command that should notice.
`python -m tests.simulation.mutations [NAME ...]` prints who noticed what.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("governor", "tests")
BOUND_SECONDS = 120.0


@dataclass(frozen=True)
class Mutation:
    """A rule, and how it is broken: `old` becomes `new` in `file`; `noticed_by` are arguments of python -m."""

    rule: str
    file: str
    old: str
    new: str
    noticed_by: tuple[str, ...]


def schedules(first: int = 0, count: int = 1500) -> tuple[str, ...]:
    """The simulation, until a schedule breaks an invariant; from a seed near one that is known to."""
    return ("tests.simulation", "--seeds", str(count), "--from", str(first))


def unit(name: str) -> tuple[str, ...]:
    """One file of unit tests."""
    return ("pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/unit/{name}.py")


MUTATIONS = (
    Mutation(
        "a process is its start time too",
        "governor/processes.py",
        "same = int(fields[START_FIELD]) == identity.start_ticks",
        "same = True",
        unit("test_processes"),
    ),
    Mutation(
        "a seat is good only under its own fence",
        "governor/line.py",
        'return slot is not None and slot.state == "held" and slot.fence == grant.fence',
        'return slot is not None and slot.state == "held"',
        unit("test_line"),
    ),
    Mutation(
        "a revocation bumps the fence",
        "governor/succession.py",
        'state="revoked", fence=slot.fence + 1, since_s=clock_s)\n        return identity_of(slot)',
        "since_s=clock_s)\n        return identity_of(slot)",
        unit("test_line"),
    ),
    Mutation(
        "a release is finished only by who claimed it",
        "governor/line.py",
        'if slot is None or slot.state != "releasing" or slot.fence != fence:',
        "if slot is None:",
        unit("test_line"),
    ),
    Mutation(
        "an offer is accepted by its heir only, and once",
        "governor/succession.py",
        'if slot is None or slot.state != "offered" or slot.ticket_id != ticket_id:',
        "if slot is None:",
        unit("test_line"),
    ),
    Mutation(
        "only the head claims a free slot",
        "governor/line.py",
        "if chosen is None or chosen.row.id != ticket_id:",
        "if chosen is None:",
        unit("test_line"),
    ),
    Mutation(
        "the old renewal is stopped before the lease changes hands",
        "governor/turn.py",
        "            self.renewal.stop()\n",
        "            pass\n",
        schedules(),
    ),
    Mutation(
        "an heir has one renewal answered before its first call",
        "governor/turn.py",
        "if confirm(self.limit, self.effects, grant.lease_id) is Renewed.ALIVE:",
        "if True:",
        schedules(),
    ),
    Mutation(
        "the living are not reaped",
        "governor/succession.py",
        "if not stuck and not is_dead(slot, line.judge):",
        "if False:",
        unit("test_line"),
    ),
    Mutation(
        "nobody is revoked within the budget",
        "governor/succession.py",
        'if slot is None or slot.state not in ("held", "asking") or age_seconds(slot, clock_s) <= slot.budget_seconds:',
        'if slot is None or slot.state not in ("held", "asking"):',
        unit("test_line"),
    ),
    Mutation(
        "an increment in flight is never given up",
        "governor/turn.py",
        "self.effects.shielded(lambda: self._claim_and_ask(index))",
        "self._claim_and_ask(index)",
        schedules(),
    ),
    Mutation(
        "first come, first served",
        "governor/policy/ordering.py",
        "return Choice(ready[0].ticket_id) if ready else None",
        "return Choice(ready[-1].ticket_id) if ready else None",
        schedules(),
    ),
    Mutation(
        "two releases of one lease are never at the server at once",
        "governor/giving_back.py",
        "            effects.pause(AGAIN_SECONDS)\n",
        "            pass\n",
        unit("test_giving_back"),
    ),
    Mutation(
        "overtaking is bounded",
        "governor/policy/ordering.py",
        "return waiter.overtaken < rules.overtakes_at_most and",
        "return",
        schedules(),
    ),
    Mutation(
        "an offer that goes by is passed on",
        "governor/policy/turns.py",
        "return Act.PASS_ON if slot.dead or slot.age_seconds > OFFER_SECONDS else None",
        "return None",
        unit("test_line"),
    ),
    Mutation(
        "a slot of the dead is found by whoever waits",
        "governor/policy/turns.py",
        '    if slot.dead or (slot.state == "releasing"',
        '    if False or (slot.state == "releasing"',
        unit("test_line"),
    ),
    Mutation(
        "a lease that an ended ticket left is reclaimed once",
        "governor/succession.py",
        "            change_ticket(db, row.id, OVER, lease_reclaimed=True)\n",
        "            pass\n",
        unit("test_line"),
    ),
    Mutation(
        "what was written while the lock was waited for is new",
        "governor/rows.py",
        "math.inf if ahead_seconds > LATE_CLOCK_SECONDS",
        "math.inf if ahead_seconds > 0",
        unit("test_line"),
    ),
    Mutation(
        "nobody is next in a paused line",
        "governor/line.py",
        "        if in_force_at(db, self.name, now):\n            return None\n        rows",
        "        rows",
        schedules(),
    ),
    Mutation(
        "an answer that comes after the pause is no seat",
        "governor/line.py",
        "            if in_force_at(db, self.name, now):\n                return None\n            return self.seat",
        "            return self.seat",
        schedules(),
    ),
    Mutation(
        "an answer that comes too late stands in the row before its lease is released",
        "governor/turn.py",
        "                self._settle(insist(self.effects, partial(self._decline, index, lease_id, asked_at)))\n",
        "                self.limit.release(lease_id)\n"
        "                self.line.withdraw(mine.id, index, clock_s=self.effects.clock_s())\n",
        schedules(52_900, 100),
    ),
    Mutation(
        "a pause withdraws what is on offer",
        "governor/pauses.py",
        'for slot in read_slots(db, line.name) if slot.state == "offered"]',
        'for slot in read_slots(db, line.name) if slot.state == "none"]',
        schedules(),
    ),
    Mutation(
        "the end of a slot whose offer was withdrawn ends no ticket",
        "governor/succession.py",
        'if slot.state == "offered":  # its heir',
        "if False:  # its heir",
        unit("test_line"),
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What came of one mutation: `noticed` and how long that took, with the last lines that were said."""

    mutation: Mutation
    noticed: bool
    seconds: float
    said: str


def try_out(mutation: Mutation) -> Outcome:
    """Break the rule in a copy of the tree and run what should notice it.

    Raises:
        ValueError: the text to replace is not there exactly once: the list is out of date.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for package in PACKAGES:
            shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        target = copy / mutation.file
        text = target.read_text()
        if text.count(mutation.old) != 1:
            raise ValueError(f"{mutation.file} holds {mutation.old!r} {text.count(mutation.old)} times, not once")
        target.write_text(text.replace(mutation.old, mutation.new))
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", *mutation.noticed_by],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            timeout=BOUND_SECONDS,
            check=False,
        )
        said = (done.stdout + done.stderr).strip().splitlines()
        noticed = done.returncode == 1 and ("\nseed " in done.stdout or "FAILED" in done.stdout)
        return Outcome(mutation, noticed, time.monotonic() - started, "\n".join(said[-3:]))


def main(names: list[str]) -> int:
    """Try the mutations whose rule contains one of `names`, all without any."""
    missed = 0
    for mutation in MUTATIONS:
        if names and not any(name in mutation.rule for name in names):
            continue
        outcome = try_out(mutation)
        missed += not outcome.noticed
        print(f"{'noticed' if outcome.noticed else 'MISSED':8} {outcome.seconds:6.1f} s  {mutation.rule}")
        print("         " + outcome.said.splitlines()[-1][:150])
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
