"""Why a child died, in words for its state: the kernel's own counters tell a kill for memory from any other."""

import signal
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.runner._state_proposer import StateProposer

KEPT = 200
VMSTAT = Path("/proc/vmstat")
FOR_MEMORY = (
    " hotdesk: the kernel ended it for lack of memory. What the run had written is there, and it runs again at its"
    " next time; fewer runs at a time need less (`hotdesk doctor` shows what they take)."
)
UNSEEN = " hotdesk: its fork server had died before, so nobody saw how it ended. It runs again at its next time."
BY_SOMEBODY = (
    " hotdesk: the kernel did not end it for lack of memory: somebody killed it. It runs again at its next time."
)


@dataclass
class Deaths:
    """What is known of children that were killed, until their state is told. `vmstat` is a file for tests."""

    vmstat: Path = VMSTAT
    causes: dict[UUID, str] = field(default_factory=dict)

    def look(self) -> int | None:
        """How many processes the kernel ended for memory since it booted; None where it does not say."""
        try:
            lines = self.vmstat.read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)

    def note(self, run: UUID, status: int | None, before: int | None) -> None:
        """A child ended with `status`, None when nobody saw it; `before` is what `look` said at its start."""
        after = self.look()
        if status is None:
            self.keep(run, UNSEEN)
        elif status == -signal.SIGKILL and before is not None and after is not None:
            self.keep(run, FOR_MEMORY if after > before else BY_SOMEBODY)

    def keep(self, run: UUID, cause: str) -> None:
        """What to say of a run that crashed; the oldest are forgotten, long after they were told."""
        self.causes[run] = cause
        while len(self.causes) > KEPT:
            del self.causes[next(iter(self.causes))]


class Proposer(StateProposer):
    """Prefect's, with the cause of death in a crash's message."""

    def __init__(self, *, client: PrefectClient, deaths: Deaths) -> None:
        super().__init__(client=client)
        self._deaths = deaths

    async def propose_crashed(self, flow_run: FlowRun, message: str) -> State | None:
        """See StateProposer."""
        return await super().propose_crashed(flow_run, message + self._deaths.causes.get(flow_run.id, ""))
