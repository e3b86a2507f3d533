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
        room = make_room(
            held,
            need_mib=fitting.need_mib,
            expected_mib=fitting.footprint.mib,
            space=space,
            newcomer=newcomer,
            coming=coming,
        )
        if room.fits:
            return Admission(fitting=fitting, evict=room.evict, refusals=tuple(refusals))
        refusals.append(f"{fitting.context_tokens} tokens ({fitting.cache_type}): {room.reason}")
        if room.waits:
            return Admission(waits=True, refusals=tuple(refusals))
    return Admission(refusals=tuple(refusals))


def make_room(
    held: Sequence[Held],
    *,
    need_mib: float,
    space: Space,
    newcomer: str = "",
    coming: Coming | None = None,
    expected_mib: float | None = None,
) -> Room:
    """Who leaves so that the newcomer fits into the budget and, with its spread, into what is free above the floor.

    Args:
        held: all in the same memory, on its way in or out included.
        need_mib: what has to be free for it. expected_mib: what counts in the budget; the same when None.
    """
    coming = coming or Coming()
    expected_mib = need_mib if expected_mib is None else expected_mib
    if expected_mib > space.budget_mib:
        return Room(fits=False, reason=f"it needs {expected_mib:.0f} MiB and the budget is {space.budget_mib:.0f}")
    over_mib = sum(h.memory_mib for h in held) + expected_mib - space.budget_mib
    short_mib = -math.inf if space.free_mib is None else need_mib + space.floor_mib - space.free_mib
    if max(over_mib, short_mib) <= 0:
        return Room(fits=True, reason="there is room")
    candidates = evictable(held)
    leaving = _leaving(held, candidates, over_mib, short_mib, newcomer, coming)
    if leaving is not None:
        return Room(fits=True, evict=leaving, reason=f"{max(over_mib, short_mib):.0f} MiB have to be made free")
    return _no_room(held, candidates, need_mib, (over_mib, short_mib), space)


def _leaving(
    held: Sequence[Held], candidates: Sequence[Held], over_mib: float, short_mib: float, newcomer: str, coming: Coming
) -> tuple[int, ...] | None:
    """Enough for the budget by what they take, and then for the free memory by what their end makes available."""
    sizes = _sizes(held, coming.sizes)
    staying = {h.model for h in held if h not in candidates}
    known = {"coming": coming.models, "newcomer": newcomer, "sizes": sizes, "staying": staying}
    if all(h.frees_mib is None for h in candidates):
        return choose(candidates, shortfall_mib=max(over_mib, short_mib), **known)
    first = choose(candidates, shortfall_mib=over_mib, **known)
    if first is None:
        return None
    freed = sum(_frees_mib(h) for h in candidates if h.resident_id in first)
    left = [h.model_copy(update={"memory_mib": _frees_mib(h)}) for h in candidates if h.resident_id not in first]
    second = choose(left, shortfall_mib=short_mib - freed, **known)
    return None if second is None else (*first, *second)


def _frees_mib(model: Held) -> float:
    return model.memory_mib if model.frees_mib is None else model.frees_mib


def _sizes(held: Sequence[Held], known: Mapping[str, Size]) -> dict[str, Size]:
    return {**known, **{h.model: Size(mib=h.memory_mib, load_seconds=h.load_seconds) for h in held}}


def _no_room(
    held: Sequence[Held], candidates: Sequence[Held], need_mib: float, lacking: tuple[float, float], space: Space
) -> Room:
    """Whether waiting would help, and what stands in the way, in figures."""
    over_mib, short_mib = lacking
    in_use = [h for h in held if h.busy and not (h.pinned or h.stuck or h.own)]
    going = [*candidates, *in_use]
    busy_mib = sum(h.memory_mib for h in in_use)
    if in_use and sum(h.memory_mib for h in going) >= over_mib and sum(map(_frees_mib, going)) >= short_mib:
        return Room(fits=False, waits=True, reason=f"models in use hold {busy_mib:.0f} of {space.budget_mib:.0f} MiB")
    kept = ", ".join(f"{h.model} ({h.memory_mib:.0f} MiB, {_why_kept(h)})" for h in held if h not in going)
    said = f"it needs {need_mib:.0f} MiB"
    if space.free_mib is not None and short_mib > 0:
        most_mib = space.free_mib + sum(map(_frees_mib, going))
        said += f" and {space.floor_mib:.0f} to stay free; at most {most_mib:.0f} can be free"
    else:
        most_mib = need_mib - over_mib + sum(h.memory_mib for h in going)
        said += f" and at most {most_mib:.0f} of the budget can be had"
    return Room(fits=False, reason=said + (f"; kept: {kept}" if kept else ""))


def _why_kept(model: Held) -> str:
    if model.pinned:
        return "pinned"
    return "gave nothing back" if model.stuck else "in use by this very run"
