"""Laws of giving the desk up, for any batches in one line that is served in order (invariant 43)."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from governor.policy.ordering import Order
from governor.policy.politeness import HARD_MULTIPLE, Waiting, gives_up

BEGIN = datetime(2026, 11, 25, 5, 0, tzinfo=UTC)
dues = st.one_of(st.none(), st.integers(0, 6).map(lambda hours: BEGIN + timedelta(hours=hours)))
lines, orders = st.lists(dues, max_size=5).map(tuple), st.sampled_from(Order)


@dataclass
class Work:
    """A batch: when it comes, when it is due, how long each of its calls takes."""

    comes_s: float
    due_at: datetime | None
    calls: list[float]


batches = st.builds(
    Work,
    st.floats(0, 400),
    dues,
    st.lists(st.floats(0.5, 60), min_size=1, max_size=12),
)
bounds = st.sampled_from([0.0, 5.0, 30.0, 120.0])


@dataclass
class Sitting:
    """What one seat came to. `beset_s`: since when anybody waited for it; `beaten_s`: the next one is due earlier."""

    work: Work
    began_s: float
    beset_s: float | None = None
    beaten_s: float | None = None
    gave_up: bool = False
    sits_next: Work | None = None
    longest_call: float = 0.0
    ended_s: float = 0.0


def play(works: list[Work], bound_seconds: float) -> list[Sitting]:
    """One desk, served in the order of coming; who gives it up comes again at the end of the line."""
    line, coming, at_s = list[Work](), sorted(works, key=lambda work: work.comes_s), 0.0
    left = {id(work): list(work.calls) for work in works}
    sittings = list[Sitting]()
    while line or coming:
        if not line:
            at_s = max(at_s, coming[0].comes_s)
        line += [coming.pop(0) for work in list(coming) if work.comes_s <= at_s]
        one = Sitting(line.pop(0), at_s)
        sittings.append(one)
        while calls := left[id(one.work)]:
            one.beset_s = first(one.beset_s, line, one.began_s)
            earlier = [other for other in line[:1] if is_earlier(other.due_at, one.work.due_at)]
            one.beaten_s = first(one.beaten_s, earlier, one.began_s)
            waiting = Waiting(tuple(other.due_at for other in line))
            own = {"own_due_at": one.work.due_at, "waiting": waiting}
            if one.longest_call and gives_up(at_s - one.began_s, bound_seconds, **own):
                one.gave_up = True
                one.sits_next = line[0]
                line.append(one.work)
                break
            seconds = calls.pop(0)
            one.longest_call = max(one.longest_call, seconds)
            at_s += seconds
            line += [coming.pop(0) for work in list(coming) if work.comes_s <= at_s]
        one.ended_s = at_s
    assert not any(left.values())
    return sittings


def first(known_s: float | None, others: list[Work], began_s: float) -> float | None:
    return known_s if known_s is not None or not others else max(began_s, min(other.comes_s for other in others))


def is_earlier(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and (other is None or one < other)


@given(st.lists(batches, min_size=1, max_size=6), bounds)
def test_every_batch_ends_and_sits_no_more_often_than_it_has_calls(works: list[Work], bound: float):
    sittings = play(works, bound)
    for work in works:
        own = [one for one in sittings if one.work is work]
        assert 1 <= len(own) <= len(work.calls)
        for one in own:
            assert not one.gave_up or one.ended_s - one.began_s >= bound  # so a seat is worth its hand-over


@given(st.lists(batches, min_size=1, max_size=6), bounds)
def test_the_head_that_is_due_earlier_waits_for_who_sits_no_longer_than_the_bound_and_one_call(
    works: list[Work], bound: float
):
    for one in play(works, bound):
        if one.beaten_s is not None:
            over_s = max(one.beaten_s, one.began_s + bound)
            assert one.ended_s <= over_s + one.longest_call + 1e-6


@given(st.lists(batches, min_size=1, max_size=6), bounds)
def test_nobody_sits_longer_than_the_hard_bound_and_one_call_while_somebody_waits(works: list[Work], bound: float):
    for one in play(works, bound):
        assert one.beset_s is not None or not one.gave_up
        if one.beset_s is not None:
            over_s = max(one.beset_s, one.began_s + HARD_MULTIPLE * bound)
            assert one.ended_s <= over_s + one.longest_call + 1e-6


@given(st.lists(batches, min_size=1, max_size=6), bounds.filter(bool))
def test_before_its_hard_bound_a_batch_makes_way_only_for_who_sits_next_and_is_due_earlier(
    works: list[Work], bound: float
):
    for one in play(works, bound):
        if one.gave_up and one.ended_s - one.began_s < HARD_MULTIPLE * bound:
            assert one.sits_next and is_earlier(one.sits_next.due_at, one.work.due_at)


@given(st.floats(0, 1e9), st.floats(0, 1e9), dues)
def test_nobody_yields_when_nobody_waits(sat: float, bound: float, due: datetime | None):
    assert not gives_up(sat, bound, own_due_at=due, waiting=Waiting())


@given(st.floats(0, 1e4), st.floats(1, 1e4), dues, dues)
def test_of_two_batches_at_most_one_yields_to_the_other_before_its_hard_bound(
    sat: float, bound: float, one: datetime | None, other: datetime | None
):
    sat = min(sat, HARD_MULTIPLE * bound - 1e-3)
    first = gives_up(sat, bound, own_due_at=one, waiting=Waiting((other,)))
    second = gives_up(sat, bound, own_due_at=other, waiting=Waiting((one,)))
    assert not (first and second)


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0, 1e4), dues, st.builds(Waiting, lines, orders), dues)
def test_more_time_at_the_desk_and_more_in_line_never_make_it_stay(
    sat: float,
    more: float,
    bound: float,
    own: datetime | None,
    waiting: Waiting,
    another: datetime | None,
):
    if gives_up(sat, bound, own_due_at=own, waiting=waiting):
        longer = replace(waiting, dues=(*waiting.dues, another))
        assert gives_up(sat + more, bound, own_due_at=own, waiting=longer)
