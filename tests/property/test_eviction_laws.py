"""Laws of who leaves first, for any residents, sizes and forecasts."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from governor.policy.eviction import MILLISECONDS, SWAP_SECONDS, Size, choose
from governor.policy.facts import Held
from governor.policy.trust import REMEMBERED, Trust, observe, trusts_schedule

MODELS = "abcdefg"
NEWCOMER = "x"

sizes = st.fixed_dictionaries(
    {
        model: st.builds(Size, mib=st.integers(1, 9).map(float), load_seconds=st.integers(0, 8).map(float))
        for model in MODELS + NEWCOMER
    }
)
residents = st.lists(
    st.builds(
        Held,
        resident_id=st.integers(1, 999),
        engine=st.just("embedded"),
        model=st.sampled_from(MODELS),
        context_tokens=st.just(2048),
        line=st.just("gpu"),
        memory_mib=st.floats(0, 9000),
        idle_seconds=st.floats(0, 1e6),
        age_seconds=st.floats(0, 1e6),
        busy=st.just(False),
        load_seconds=st.floats(0, 100),
    ),
    max_size=7,
    unique_by=lambda h: h.resident_id,
)
forecasts = st.lists(st.sampled_from(MODELS + NEWCOMER + "?"), max_size=90)
shortfalls = st.floats(-100, 30_000)


def leaving(held, shortfall_mib, coming, costs, staying=()):
    return choose(held, shortfall_mib=shortfall_mib, coming=coming, newcomer=NEWCOMER, sizes=costs, staying=staying)


@given(residents, shortfalls, forecasts, sizes, st.sets(st.sampled_from(MODELS)))
def test_who_leaves_could_leave_frees_enough_and_none_of_them_in_vain(held, shortfall_mib, coming, costs, staying):
    named = leaving(held, shortfall_mib, coming, costs, staying)
    mib = {h.resident_id: h.memory_mib for h in held}
    if named is None:
        assert sum(mib.values()) < shortfall_mib
        return
    assert set(named) <= set(mib)
    assert len(set(named)) == len(named)
    freed_mib = sum(mib[number] for number in named)
    assert freed_mib >= shortfall_mib - 1e-5
    assert all(freed_mib - mib[number] < max(shortfall_mib, 0) for number in named if mib[number] > 1e-3)


@given(residents, shortfalls, st.floats(0, 9000), forecasts, sizes)
def test_a_smaller_shortfall_never_makes_it_impossible(held, shortfall_mib, less_mib, coming, costs):
    if leaving(held, shortfall_mib, coming, costs) is not None:
        assert leaving(held, shortfall_mib - less_mib, coming, costs) is not None


@given(residents, shortfalls, forecasts, sizes)
def test_the_order_in_which_residents_are_told_does_not_matter(held, shortfall_mib, coming, costs):
    assert leaving(held, shortfall_mib, coming, costs) == leaving(held[::-1], shortfall_mib, coming, costs)


@given(residents, shortfalls, sizes)
def test_with_nothing_foretold_the_longest_idle_leave(held, shortfall_mib, costs):
    """Longest idle first until it is enough, the young last; then whoever need not leave stays, latest used first."""

    def is_young(h: Held) -> bool:
        return h.age_seconds < max(10.0, 3 * h.load_seconds)

    order = sorted(held, key=lambda h: (is_young(h), -h.idle_seconds, h.resident_id))
    gone: list[Held] = []
    for h in order:
        if sum(g.memory_mib for g in gone) < shortfall_mib - 1e-6:
            gone.append(h)
    for h in gone[::-1]:
        if sum(g.memory_mib for g in gone if g is not h) >= shortfall_mib - 1e-6:
            gone.remove(h)
    if leaving(held, shortfall_mib, (), costs) is not None:
        assert leaving(held, shortfall_mib, (), costs) == tuple(h.resident_id for h in gone)


@given(st.sets(st.sampled_from("abcd"), min_size=1), st.lists(st.sampled_from("abcdx"), max_size=6), sizes, st.data())
def test_the_plan_costs_what_trying_every_sequence_costs(inside, coming, costs, data):
    room_mib = data.draw(st.integers(max(int(costs[m].mib) for m in "abcdx"), 30))
    used_mib = sum(costs[model].mib for model in inside)
    held = [old(number, model, costs[model]) for number, model in enumerate(sorted(inside))]
    named = leaving(held, used_mib + costs[NEWCOMER].mib - room_mib, coming, costs)
    assert named is not None
    stays = frozenset(h.model for h in held if h.resident_id not in named) | {NEWCOMER}
    every = fitting(frozenset(inside), NEWCOMER, room_mib, costs)
    assert tried(stays, coming, room_mib, costs) == min(tried(after, coming, room_mib, costs) for after in every)


@given(st.integers(2, 4), st.lists(st.sampled_from("abcde"), min_size=1, max_size=30))
def test_with_equal_sizes_and_costs_a_day_by_plan_costs_what_beladys_rule_costs(places, uses):
    costs = {model: Size(mib=1.0, load_seconds=1.0) for model in "abcde"}

    def planned(inside: list[str], model: str, ahead: Sequence[str]) -> list[str]:
        held = [old(number, other, costs[other]) for number, other in enumerate(inside)]
        shortfall_mib = len(inside) + 1 - places
        out = choose(held, shortfall_mib=shortfall_mib, coming=ahead, newcomer=model, sizes=costs)
        assert out is not None
        return [inside[number] for number in out]

    def belady(inside: list[str], model: str, ahead: Sequence[str]) -> list[str]:
        if len(inside) < places:
            return []
        return [max(inside, key=lambda m: ahead.index(m) if m in ahead else len(ahead))]

    def loads(rule) -> int:
        inside: list[str] = []
        count = 0
        for place, model in enumerate(uses):
            if model not in inside:
                out = rule(inside, model, uses[place + 1 :])
                inside = [m for m in inside if m not in out] + [model]
                count += 1
        return count

    assert loads(planned) == loads(belady)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["", "a"]), st.sampled_from("abc")), max_size=60))
def test_the_record_of_trust_stays_bounded_and_counts_no_more_than_it_saw(seats):
    trust = Trust()
    for model, waiting, said in seats:
        trust = observe(trust, model, waiting=tuple(waiting), coming=tuple(said))
    assert len(trust.right) <= min(REMEMBERED, max(0, len(seats) - 1))
    assert not trusts_schedule(trust) or 2 * sum(trust.right) >= len(trust.right)


def old(number: int, model: str, size: Size) -> Held:
    return Held(
        resident_id=number,
        engine="embedded",
        model=model,
        context_tokens=2048,
        line="gpu",
        memory_mib=size.mib,
        idle_seconds=float(100 - number),
        age_seconds=1e6,
        busy=False,
    )


def fitting(inside: frozenset[str], model: str, room_mib: float, costs: Mapping[str, Size]) -> list[frozenset[str]]:
    """Every set in memory after `model` came in."""
    ways = [frozenset(way) for size in range(len(inside) + 1) for way in combinations(sorted(inside), size)]
    return [way | {model} for way in ways if sum(costs[m].mib for m in way | {model}) <= room_mib]


def tried(inside: frozenset[str], coming: Sequence[str], room_mib: float, costs: Mapping[str, Size]) -> int:
    """The least cost of the uses to come, by trying everything."""
    if not coming:
        return 0
    model, rest = coming[0], coming[1:]
    if model in inside:
        return tried(inside, rest, room_mib, costs)
    cost = round((costs[model].load_seconds + SWAP_SECONDS) * MILLISECONDS)
    return cost + min(tried(after, rest, room_mib, costs) for after in fitting(inside, model, room_mib, costs))
