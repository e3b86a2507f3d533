"""Who leaves first when room is needed: the cheapest plan over the uses that are foretold, else the longest idle.

Belady's rule (evict what is used again last) is optimal for pages of one size and one cost. Models differ in
both, so the plan is found by a forward dynamic programme over the sets of models that can be in memory
together: a use of a model outside the set costs its reload and leads to the sets in which just enough
others have left. With equal sizes and costs that is as good as Belady's rule. A set is a number, a bit a model.

Pure. Who may leave at all is `policy.residency`'s to say, what is foretold `policy.forecast`'s.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from pydantic import Field

from governor.policy.facts import Fact, Held
from governor.policy.forecast import changes

# Young is who came in less than this, or less than so many times its own load, ago: throwing it out at once
# wastes the load, and two models that chase each other out stall everybody.
YOUNG_SECONDS, YOUNG_LOADS = 10.0, 3.0
# Sets kept per step of the plan, cheapest first, and ways to make room looked at per set: six models have at
# most 64 sets, and at most 20 of which none contains another, so up to six models nothing is cut off.
BEAM, WAYS = 64, 64
# What a swap costs beside its load. Measured: memory is back after 0.1 to 0.3 s, admission looks again after 0.25 s.
# The rest is a price on swaps as such: each may fail, and two cheap ones are not better than one dear one. Tried in
# `tests.benchmarks.eviction` where there is a choice: 0 s saves 31% of LRU's swaps, 1 s 33%, 1.5 s (and 2) 34%, at
# 2.7%, 2.9% and 3.6% more stall time than the least.
SWAP_SECONDS = 1.5
# Sums of measured bytes are compared with this tolerance; costs are whole milliseconds, so that equal is equal.
TOLERANCE_MIB = 1e-6
MILLISECONDS = 1000


class Size(Fact):
    """What a model takes in memory and what bringing it in costs."""

    mib: float = Field(ge=0)
    load_seconds: float = Field(ge=0)


def choose(
    evictable: Sequence[Held],
    *,
    shortfall_mib: float,
    coming: Sequence[str],
    newcomer: str,
    sizes: Mapping[str, Size],
    staying: Collection[str] = (),
) -> tuple[int, ...] | None:
    """The resident_ids that leave, longest idle first; None when even all of them are not enough.

    Args:
        evictable: who may leave: idle and not pinned.
        shortfall_mib: what must become free; nobody leaves when it is not positive.
        coming: models in the order of their use, as `forecast.coming` says; empty: the longest idle leave.
        newcomer: the model that comes in now.
        sizes: of every model of the fleet; a coming model without one is left out of the plan.
        staying: models that are in memory and cannot leave (in use, pinned): their uses cost nothing.
    """
    ranked = sorted(evictable, key=lambda h: (_young(h), -h.idle_seconds, h.resident_id))
    bits = {1 << rank: h.memory_mib for rank, h in enumerate(ranked)}
    if sum(bits.values()) < shortfall_mib - TOLERANCE_MIB:
        return None
    wanted = [model for model in changes(coming) if model in sizes and model not in staying]
    leaving = _longest_idle(bits, shortfall_mib)
    if leaving and wanted and newcomer in sizes:
        plan = _Plan.of(ranked, sizes, newcomer, shortfall_mib, wanted)
        old = sum(bit for bit, h in zip(bits, ranked, strict=True) if not _young(h))
        leaving = plan.first_step(leaving, old)
    return tuple(h.resident_id for bit, h in zip(bits, ranked, strict=True) if bit & leaving)


def _young(resident: Held) -> bool:
    return resident.age_seconds < max(YOUNG_SECONDS, YOUNG_LOADS * resident.load_seconds)


def _longest_idle(bits: Mapping[int, float], shortfall_mib: float) -> int:
    """Longest idle first until it is enough; then whoever need not leave after all stays, the latest used first.

    That is the smallest of all numbers whose models free enough, since the longest idle has the lowest bit.
    """
    leaving, freed_mib = 0, 0.0
    for bit, mib in bits.items():
        if freed_mib < shortfall_mib - TOLERANCE_MIB:
            leaving, freed_mib = leaving | bit, freed_mib + mib
    for bit in sorted(bits, reverse=True):
        if bit & leaving and freed_mib - bits[bit] >= shortfall_mib - TOLERANCE_MIB:
            leaving, freed_mib = leaving ^ bit, freed_mib - bits[bit]
    return leaving


@dataclass(frozen=True)
class _Plan:
    """The models a plan is made of, as bits, and the uses it is made for.

    Attributes:
        mib: of each bit, the largest first, of equal ones the one that is used again last.
        uses: for each use to come the bits that serve it, the bit that is loaded else, and that load's cost.
        inside: the bits that are in memory now. newcomer: the bit that is loaded first.
        room_mib: what they may take together.
    """

    mib: dict[int, float]
    uses: Sequence[tuple[int, int, int]]
    inside: int
    newcomer: int
    room_mib: float
    _next: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        ranked: Sequence[Held],
        sizes: Mapping[str, Size],
        newcomer: str,
        shortfall_mib: float,
        wanted: Sequence[str],
    ) -> "_Plan":
        """Bits in the order of `ranked`, then the newcomer, then the models that are not in memory."""
        room_mib = sum(h.memory_mib for h in ranked) + sizes[newcomer].mib - shortfall_mib
        models = [h.model for h in ranked] + [newcomer]
        models += [model for model in dict.fromkeys(wanted) if model not in models]
        mibs = [h.memory_mib for h in ranked] + [sizes[model].mib for model in models[len(ranked) :]]
        # What does not fit even alone is not planned for. Of several residents of a model a reload brings the first.
        wanted = [model for model in wanted if mibs[models.index(model)] <= room_mib + TOLERANCE_MIB]
        first = {model: place for place, model in reversed(list(enumerate(wanted)))}
        order = sorted(range(len(models)), key=lambda rank: (-mibs[rank], -first.get(models[rank], len(wanted))))
        serving = {model: sum(1 << rank for rank, other in enumerate(models) if other == model) for model in first}
        cost = {model: round((sizes[model].load_seconds + SWAP_SECONDS) * MILLISECONDS) for model in first}
        return cls(
            mib={1 << rank: mibs[rank] for rank in order},
            uses=[(serving[model], serving[model] & -serving[model], cost[model]) for model in wanted],
            inside=(1 << len(ranked)) - 1,
            newcomer=1 << len(ranked),
            room_mib=room_mib,
        )

    def first_step(self, longest_idle: int, old: int) -> int:
        """The bits that leave now under the cheapest plan; of equal ones the longest idle (the lowest number).

        The young stay where the old are enough. `longest_idle` is looked at even where the ways are too many.
        """
        ways = {self.inside & ~after for after in self._after(self.inside, self.newcomer)} | {longest_idle}
        young = min((way & ~old).bit_count() for way in ways)
        first = {(self.inside & ~way) | self.newcomer: (0, way) for way in ways if (way & ~old).bit_count() == young}
        return min(self._played(first).values())[1]

    def _played(self, reached: dict[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
        """Each set that can be in memory after all uses, with the least cost and the first step that leads there."""
        for serving, loads, cost in self.uses:
            then: dict[int, tuple[int, int]] = {}
            for inside, (spent, way) in reached.items():
                hit = inside & serving
                played = (spent, way) if hit else (spent + cost, way)
                for after in (inside,) if hit else self._after(inside, loads):
                    if after not in then or played < then[after]:
                        then[after] = played
            reached = then if len(then) <= BEAM else dict(sorted(then.items(), key=lambda item: item[1])[:BEAM])
        return reached

    def _after(self, inside: int, loads: int) -> tuple[int, ...]:
        """The sets in memory once the bit `loads` has come in: nobody leaves who could stay."""
        known = self._next.get((inside, loads))
        if known is None:
            held = [(bit, mib) for bit, mib in self.mib.items() if bit & inside]
            used_mib = sum(mib for _, mib in held)
            ways = islice(_ways(held, used_mib + self.mib[loads] - self.room_mib, used_mib), WAYS)
            known = self._next[inside, loads] = tuple(inside & ~way | loads for way in ways)
        return known


def _ways(held: Sequence[tuple[int, float]], short_mib: float, left_mib: float) -> Iterator[int]:
    """Every set of bits that frees enough and in which nobody could stay.

    `held` is largest first, so whoever completes a set is its smallest, and a set without it was too small.
    `left_mib` is what all of `held` take: a set that the rest cannot complete is not begun.
    """
    if short_mib <= TOLERANCE_MIB:
        yield 0
        return
    for place, (bit, mib) in enumerate(held):
        if left_mib < short_mib - TOLERANCE_MIB:
            return
        left_mib -= mib
        for others in _ways(held[place + 1 :], short_mib - mib, left_mib):
            yield bit | others
