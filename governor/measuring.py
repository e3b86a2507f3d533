"""What a resident takes, as far as it can be measured: by its processes, else by the whole card.

By the whole everything counts that came and left meanwhile, so it is believed only where it agrees with what was
expected, and it accuses nobody of a spill.
"""

from governor.engines import engine
from governor.memory import Memory
from governor.policy.facts import Footprint, ModelSpec
from governor.state.residents import Resident

# How far a figure of the whole card may be from what was expected and still be taken for this model's.
BELIEVED_WITHIN_MIB = 150.0
# Less than learned by more than this is no noise of a load before its first use (12 MiB at most, measured).
SPILLED_BELOW_MIB = 100.0
# A first estimate is within 150 MiB (8 measured), and the driver's context may be 300 MiB less than assumed.
SPILLED_BELOW_ESTIMATE_MIB = 450.0
# On the card must be at least this share of what the file puts there, whatever else is known.
SPILL_SHARE = 0.9


def by_processes(row: Resident, where: Memory) -> float | None:
    """What its processes hold, None where that is not told."""
    return where.held_mib(row.pids) if row.pids else None


def by_the_whole(row: Resident, where: Memory, expected_mib: float) -> float | None:
    """What is less free on the card than before it came, where that is near what was expected; else None.

    The host's memory says nothing by the whole: pages of weights count as available all along.
    """
    free_mib = where.free_mib()
    if row.memory != "vram" or free_mib is None or row.free_before_mib is None:
        return None
    less_mib = row.free_before_mib - free_mib
    return less_mib if abs(less_mib - expected_mib) <= BELIEVED_WITHIN_MIB else None


def spilled(spec: ModelSpec, mib: float, expected: Footprint) -> bool:
    """Whether a model with so much of it on the card has the rest elsewhere."""
    weights = engine(spec.engine).weights(spec)
    if weights is not None and mib < SPILL_SHARE * (weights.file_mib - weights.embedding_mib):
        return True
    if expected.source == "learned":
        return mib < expected.mib - expected.spread_mib - SPILLED_BELOW_MIB
    return expected.source == "header" and mib < expected.mib - SPILLED_BELOW_ESTIMATE_MIB
