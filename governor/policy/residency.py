"""What may come into a memory and who leaves for it: never the busy, never the pinned, and nobody is squeezed in.

Pure. `eviction` chooses who leaves, `footprint` says what a model takes; `governor.admission` claims the
rows and tells the engines.
"""

import math
from collections.abc import Mapping, Sequence

from pydantic import Field

from governor.policy.eviction import YOUNG_LOADS, YOUNG_SECONDS, Size, choose
from governor.policy.facts import Fact, Footprint, Held

# What stays free of a memory when everything admitted has come: ComfyUI's reserve for a desktop that draws.
FLOOR_MIB = 400.0


class Space(Fact):
    """One memory at the moment of the decision.

    Attributes:
        free_mib: measured; None when nobody can say, then the budget alone decides.
        budget_mib: what all models in it may take together. floor_mib: what must stay free of it.
    """

    free_mib: float | None = None
    budget_mib: float
    floor_mib: float = FLOOR_MIB


class Coming(Fact):
    """What is known of the uses ahead: the models in their order (empty: nothing, or it is not trusted) and sizes."""

    models: tuple[str, ...] = ()
    sizes: dict[str, Size] = Field(default_factory=dict)


class Room(Fact):
    """Who must leave so that the newcomer fits.

    `waits`: not now, but when models in use have left. Neither `fits` nor `waits`: never beside what is pinned,
    stuck or somebody else's.
    """

    fits: bool
    evict: tuple[int, ...] = ()
    waits: bool = False
    reason: str


class Fitting(Fact):
    """One way to load a model: its context, how that is kept, and what it takes so."""

    context_tokens: int
    cache_type: str
    footprint: Footprint

    @property
    def need_mib(self) -> float:
        """What has to be there for it: the expected and what may come on top."""
        return self.footprint.mib + self.footprint.spread_mib


class Admission(Fact):
    """The decision about a newcomer: `fitting` is how it is loaded after `evict` left, None when it is not.

    `waits` as in `Room`; `refusals` say why each larger way was not taken.
    """

    fitting: Fitting | None = None
    evict: tuple[int, ...] = ()
    waits: bool = False
    refusals: tuple[str, ...] = ()


def evictable(held: Sequence[Held]) -> list[Held]:
    """The idle, unpinned and willing, longest idle first."""
    free_to_go = (h for h in held if not h.busy and not h.pinned and not h.stuck)
    return sorted(free_to_go, key=lambda h: (-h.idle_seconds, h.resident_id))


def minimum_residency_seconds(model: Held) -> float:
    """How long a model stays at least unless somebody needs its room: 10 s, or three times what loading it took."""
    return max(YOUNG_SECONDS, YOUNG_LOADS * model.load_seconds)


def admit(
    held: Sequence[Held], fittings: Sequence[Fitting], space: Space, *, newcomer: str, coming: Coming | None = None
) -> Admission:
    """The largest way in which the newcomer fits, idle models evicted for it.

    It is not made smaller beside models that are in use: it waits for them. Terminates after one look at
    each fitting; more free memory never refuses what less admitted.
    """
    refusals: list[str] = []
    for fitting in fittings:
        room = make_room(held, need_mib=fitting.need_mib, space=space, newcomer=newcomer, coming=coming)
        if room.fits:
            return Admission(fitting=fitting, evict=room.evict, refusals=tuple(refusals))
        refusals.append(f"{fitting.context_tokens} tokens ({fitting.cache_type}): {room.reason}")
        if room.waits:
            return Admission(waits=True, refusals=tuple(refusals))
    return Admission(refusals=tuple(refusals))


def make_room(
    held: Sequence[Held], *, need_mib: float, space: Space, newcomer: str = "", coming: Coming | None = None
) -> Room:
    """Who leaves so that `need_mib` more fit into the budget and into what is free above the floor.

    Args:
        held: all in the same memory, on its way in or out included.
    """
    coming = coming or Coming()
    if need_mib > space.budget_mib:
        return Room(fits=False, reason=f"it needs {need_mib:.0f} MiB and the budget is {space.budget_mib:.0f}")
    shortfall = _shortfall_mib(held, need_mib, space)
    if shortfall <= 0:
        return Room(fits=True, reason="there is room")
    candidates = evictable(held)
    leaving = choose(
        candidates,
        shortfall_mib=shortfall,
        coming=coming.models,
        newcomer=newcomer,
        sizes=_sizes(held, coming.sizes),
        staying={h.model for h in held if h not in candidates},
    )
    if leaving is not None:
        return Room(fits=True, evict=leaving, reason=f"{shortfall:.0f} MiB have to be made free")
    return _no_room(held, candidates, need_mib, shortfall, space)


def _shortfall_mib(held: Sequence[Held], need_mib: float, space: Space) -> float:
    over_budget = sum(h.memory_mib for h in held) + need_mib - space.budget_mib
    not_free = -math.inf if space.free_mib is None else need_mib + space.floor_mib - space.free_mib
    return max(over_budget, not_free)


def _sizes(held: Sequence[Held], known: Mapping[str, Size]) -> dict[str, Size]:
    return {**known, **{h.model: Size(mib=h.memory_mib, load_seconds=h.load_seconds) for h in held}}


def _no_room(
    held: Sequence[Held], candidates: Sequence[Held], need_mib: float, shortfall_mib: float, space: Space
) -> Room:
    """Whether waiting would help, and what stands in the way, in figures."""
    going = sum(h.memory_mib for h in candidates)
    in_use = [h for h in held if h.busy and not h.pinned and not h.stuck]
    busy_mib = sum(h.memory_mib for h in in_use)
    if going + busy_mib >= shortfall_mib:
        return Room(fits=False, waits=True, reason=f"models in use hold {busy_mib:.0f} of {space.budget_mib:.0f} MiB")
    kept = ", ".join(
        f"{h.model} ({h.memory_mib:.0f} MiB, {'pinned' if h.pinned else 'gave nothing back'})"
        for h in held
        if h.pinned or h.stuck
    )
    said = f"it needs {need_mib:.0f} MiB"
    if space.free_mib is not None:
        said += f" and {space.floor_mib:.0f} to stay free; at most {space.free_mib + going + busy_mib:.0f} can be free"
    else:
        said += f" and at most {need_mib - shortfall_mib + going + busy_mib:.0f} of the budget can be"
    return Room(fits=False, reason=said + (f"; kept: {kept}" if kept else ""))
