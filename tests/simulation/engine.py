"""The model's server in a schedule: which requests run at it."""

from dataclasses import dataclass, field

from tests.simulation.world import Process, World

CLIENT_GONE_SECONDS = 0.34  # until an engine notices that a streaming client went away (measured)


@dataclass
class Call:
    """A request at the engine."""

    process: Process
    fence: int
    slot: int
    ends_s: float


@dataclass
class Engine:
    """The model's server: it knows no fence, and goes on for a moment when its client is gone."""

    world: World
    calls: list[Call] = field(default_factory=list)

    def running(self) -> list[Call]:
        now_s = self.world.clock_s

        def runs(call: Call) -> bool:
            gone = not call.process.alive and now_s > call.process.died_s + CLIENT_GONE_SECONDS
            return now_s < call.ends_s and not gone

        self.calls = [call for call in self.calls if runs(call)]
        return self.calls
