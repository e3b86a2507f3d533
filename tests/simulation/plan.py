"""What one seed stands for: how many agents, in which order they are served, and which trouble there is.

Which agent does what, and when the trouble comes, is `scenario`; pauses and batches have dice of their own.
"""

from dataclasses import dataclass

from governor.policy.ordering import Order, OrderRules
from tests.simulation.world import Faults, World


@dataclass
class Plan:
    """What one seed stands for."""

    agents: int
    slots: int
    rules: OrderRules
    faults: Faults
    remote: bool
    restarts: int
    jumps: int
    strangers: int
    overstay: bool
    by_hand: bool
    governed: bool

    @property
    def calm(self) -> bool:
        """Nothing but kills and cancels: then every bound on time must hold."""
        f = self.faults
        return not (
            f.stop
            or f.database
            or f.silence
            or f.slow
            or self.restarts
            or self.strangers
            or self.overstay
            or self.by_hand
        )


def plan_of(world: World) -> Plan:
    """Dice for one schedule. A third is calm, a third has one kind of trouble, the rest has several."""
    dice = world.random
    faults, mood = Faults(), dice.random()
    kinds = [
        "kill",
        "stop",
        "cancel",
        "database",
        "silence",
        "slow",
        "restart",
        "jump",
        "stranger",
        "overstay",
        "by hand",
    ]
    chosen = set(dice.sample(kinds, 1 if mood < 0.66 else dice.randint(2, 5))) if mood >= 0.25 else {"kill"}
    for name, rate in (("kill", 0.02), ("stop", 0.01), ("cancel", 0.03), ("database", 0.03), ("slow", 0.03)):
        if name in chosen:
            setattr(faults, name, rate * dice.choice((0.5, 1.0, 2.0)))
    if "silence" in chosen:
        faults.silence = dice.choice((0.02, 0.1, 0.3))
    order = dice.choice((Order.FIFO, Order.FIFO, Order.FIFO, Order.AFFINITY, Order.DEADLINE))
    rules = OrderRules(order=order, overtakes_at_most=dice.choice((0, 1, 3)), never_after_seconds=dice.choice((5, 600)))
    return Plan(
        agents=dice.choice((2, 3, 3, 4, 5)),
        slots=2 if dice.random() < 0.15 else 1,
        rules=rules,
        faults=faults,
        remote=dice.random() < 0.1,
        restarts=dice.randint(1, 2) if "restart" in chosen else 0,
        jumps=1 if "jump" in chosen else 0,
        strangers=dice.randint(1, 2) if "stranger" in chosen else 0,
        overstay="overstay" in chosen,
        by_hand="by hand" in chosen,
        governed=dice.random() < 0.15,
    )
