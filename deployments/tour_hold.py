"""A process that sits at the desk for the tour: run as `python -m deployments.tour_hold`.

It holds its seat until its standard input ends, so it also leaves when the tour itself is killed.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from governor.errors import NotReady
from governor.policy.facts import ModelSpec
from governor.settings import home

# A holder that nobody dismisses leaves by itself; no act of the tour takes half as long.
HOLD_SECONDS = 120.0
LEAVE_SECONDS = 15.0
SEATED = "seated"


@dataclass(frozen=True)
class Held:
    """A child that waits for the desk or sits at it."""

    process: "subprocess.Popen[str]"
    agent: str

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def wait_seated(self, seconds: float) -> None:
        """Wait until it sits at the desk with a resident model.

        Raises:
            NotReady: it ended, or did not sit down within `seconds`.
        """
        stream = self.process.stdout
        ready = select.select([stream], [], [], seconds)[0] if stream else []
        said = stream.readline().strip() if stream and ready else ""
        if said != SEATED:
            raise NotReady(
                f"{self.agent} (pid {self.pid}) {said or 'did not sit down in time'}.",
                remedy="The reason is in logs/tour.log of the state folder.",
            )

    def kill(self) -> None:
        """SIGKILL, and reap it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(LEAVE_SECONDS)


@contextmanager
def holding(spec: ModelSpec, agent: str, patience_seconds: float) -> Iterator[Held]:
    """Start a child that takes a ticket for `spec`; it leaves at the end of the block, or is killed."""
    command = [sys.executable, "-m", "deployments.tour_hold", spec.model_dump_json(), agent, str(patience_seconds)]
    with (home().logs / "tour.log").open("a") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
    try:
        yield Held(process, agent)
    finally:
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(LEAVE_SECONDS)
        if process.stdout:
            process.stdout.close()


def main(arguments: list[str]) -> int:
    """Sit down, say so, stay until standard input ends."""
    from governor.desk import desk
    from governor.errors import HotdeskError
    from governor.line import Errand

    spec = ModelSpec.model_validate_json(arguments[0])
    errand = Errand(spec.line, arguments[1], spec.model, float(arguments[2]))
    try:
        with desk(spec, errand):
            print(SEATED, flush=True)
            _stay(HOLD_SECONDS)
    except HotdeskError as error:
        print(f"could not sit down: {error.happened}", flush=True)
        return 1
    return 0


def _stay(seconds: float) -> None:
    """Until standard input ends, at most `seconds`."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0] and not os.read(sys.stdin.fileno(), 1):
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
