"""The fork server: a process that has imported everything once and forks a child for each run.

    worker --(run id, environment, folder)--> fork server --fork--> child: runs the flow, exits
    worker <--(pid, a pidfd)-- fork server <--waitpid-- child

It has one thread, no event loop, no connection but the link to its worker, and never runs a flow itself: that is what
makes a fork safe. It ends when its worker does; its children go on (`child`). Started by `link`, for one worker.
"""

import contextlib
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.forking import wire
from deployments.forking.preload import Flows, offences, preload


@dataclass
class ForkServer:
    """The loop. `children` maps a pidfd to its pid."""

    link: socket.socket
    flows: Flows
    worker: int = field(default_factory=os.getppid)
    pid: int = field(default_factory=os.getpid)
    children: dict[int, int] = field(default_factory=dict)
    retired: bool = False

    def serve(self) -> None:
        """Until the worker is gone, or it has retired this server and the last child has ended."""
        poll = select.poll()
        poll.register(self.link, select.POLLIN)
        while not (self.retired and not self.children):
            for descriptor, _ in poll.poll():
                if descriptor == self.link.fileno():
                    if (received := wire.receive(self.link)) is None:
                        return
                    if (born := self._obey(*received)) is not None:
                        poll.register(born, select.POLLIN)
                else:
                    poll.unregister(descriptor)
                    self._reap(descriptor)

    def _obey(self, message: dict[str, Any], descriptors: list[int]) -> int | None:
        if "retire" in message:
            self.retired = True
            return None
        try:
            return self._fork(message)
        except OSError as error:  # no more processes or memory
            wire.send(self.link, {"run": message["run"], "refused": error.strerror or str(error)})
            return None

    def _fork(self, message: dict[str, Any]) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._become_child(message)
        try:
            pidfd = os.pidfd_open(pid)  # ours and not reaped: the number cannot be anybody else's
        except OSError:  # no more descriptors
            _end(pid)
            raise
        try:
            wire.send(self.link, {"run": message["run"], "pid": pid}, [pidfd])
        except OSError:  # the worker is gone, or takes no more descriptors
            os.close(pidfd)
            _end(pid)
            raise
        self.children[pidfd] = pid
        return pidfd

    def _become_child(self, message: dict[str, Any]) -> None:
        """Never returns: what was below this on the stack is the server's."""
        code = 1
        try:
            from deployments.forking import child

            self.link.detach()
            code = child.run({**message, "worker": self.worker, "server": self.pid}, self.flows)
        except BaseException as error:  # before or after the flow: its folder is missing, say
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            os._exit(code)

    def _reap(self, pidfd: int) -> None:
        pid = self.children.pop(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        wire.send(self.link, {"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def _end(pid: int) -> None:
    """A run that nobody watches must not run."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def main() -> None:
    """`python -m deployments.forking.server DESCRIPTOR CHECKOUT`."""
    # Ctrl-C is the worker's to hear; the other two are for children, until each has its own handler.
    for sign in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(sign, signal.SIG_IGN)
    link = socket.socket(fileno=int(sys.argv[1]))
    flows = preload(Path(sys.argv[2]))
    wire.send(link, {"ready": os.getpid(), "offences": offences(link.fileno()), "flows": len(flows)})
    with contextlib.suppress(BrokenPipeError, ConnectionError):  # the worker is gone
        ForkServer(link, flows).serve()


if __name__ == "__main__":
    main()
