"""Who leaves first: by the foretold uses and the cost of coming back, else the longest idle."""

import time

from governor.policy.eviction import BEAM, SWAP_SECONDS, Size, choose
from governor.policy.facts import Held
from governor.policy.forecast import HORIZON

A_DAY = 86_400.0


def held(
    number: int, model: str, mib: float = 100, *, idle: float = 60.0, age: float = A_DAY, load: float = 1.0
) -> Held:
    return Held(
        resident_id=number,
        engine="embedded",
        model=model,
        context_tokens=2048,
        line="gpu",
        memory_mib=mib,
        idle_seconds=idle,
        age_seconds=age,
        busy=False,
        load_seconds=load,
    )


def equal(models: str) -> dict[str, Size]:
    return {model: Size(mib=100, load_seconds=1.0) for model in models}


def test_nobody_leaves_when_nothing_is_short():
    assert choose([held(1, "a")], shortfall_mib=0, coming=["a"], newcomer="x", sizes=equal("ax")) == ()
    assert choose([], shortfall_mib=-5, coming=(), newcomer="x", sizes=equal("x")) == ()


def test_all_of_them_may_not_be_enough():
    assert choose([held(1, "a")], shortfall_mib=101, coming=(), newcomer="x", sizes=equal("ax")) is None
    assert choose([], shortfall_mib=1, coming=["x"], newcomer="x", sizes=equal("x")) is None


def test_without_a_forecast_the_longest_idle_leave_and_whoever_need_not_stays():
    inside = [held(1, "a", 100, idle=500), held(2, "b", 300, idle=400), held(3, "c", 100, idle=5)]
    sizes = equal("abcx")
    assert choose(inside, shortfall_mib=100, coming=(), newcomer="x", sizes=sizes) == (1,)
    assert choose(inside, shortfall_mib=350, coming=(), newcomer="x", sizes=sizes) == (1, 2)
    assert choose(inside, shortfall_mib=300, coming=(), newcomer="x", sizes=sizes) == (2,), "the first is not needed"


def test_with_equal_sizes_and_costs_the_one_used_again_last_leaves():
    inside = [held(1, "a", idle=9), held(2, "b", idle=8), held(3, "c", idle=7)]
    leaves = choose(inside, shortfall_mib=100, coming="abxacb", newcomer="x", sizes=equal("abcx"))
    assert leaves == (3,), "the latest used, but foretold last"
    assert choose(inside, shortfall_mib=100, coming="abxab", newcomer="x", sizes=equal("abcx")) == (3,), "or never"


def test_a_model_that_is_slow_to_load_stays_even_though_it_is_used_later():
    inside = [held(1, "big", 500, idle=900), held(2, "quick", 500, idle=1)]
    sizes = {
        "big": Size(mib=500, load_seconds=9.0),
        "quick": Size(mib=500, load_seconds=0.5),
        "x": Size(mib=500, load_seconds=1.0),
    }
    assert choose(inside, shortfall_mib=500, coming=["quick", "big"], newcomer="x", sizes=sizes) == (2,)


def test_one_dear_reload_is_better_than_two_that_are_hardly_cheaper_together():
    inside = [held(1, "one", 400), held(2, "two", 200), held(3, "three", 200)]
    sizes = {
        "one": Size(mib=400, load_seconds=5.0),
        "two": Size(mib=200, load_seconds=2.5 - SWAP_SECONDS / 4),
        "three": Size(mib=200, load_seconds=2.5 - SWAP_SECONDS / 4),
        "x": Size(mib=400, load_seconds=1.0),
    }
    assert choose(inside, shortfall_mib=400, coming=["two", "three", "one"], newcomer="x", sizes=sizes) == (1,)


def test_of_those_that_are_never_used_again_the_longest_idle_leaves():
    inside = [held(1, "a", idle=5), held(2, "b", idle=50), held(3, "c", idle=20)]
    assert choose(inside, shortfall_mib=100, coming=["a"], newcomer="x", sizes=equal("abcx")) == (2,)


def test_the_young_leave_last_but_may_leave():
    young = held(1, "a", idle=8, age=9)
    slow = held(2, "b", idle=7, age=25, load=9.0)  # 25 s are less than three of its loads
    old = held(3, "c", idle=1)
    sizes = equal("abcx")
    assert choose([young, slow, old], shortfall_mib=100, coming=(), newcomer="x", sizes=sizes) == (3,)
    assert choose([young, slow, old], shortfall_mib=100, coming="cab", newcomer="x", sizes=sizes) == (3,)
    assert choose([young, slow], shortfall_mib=200, coming="ab", newcomer="x", sizes=sizes) == (1, 2)


def test_those_who_stay_anyway_and_those_of_unknown_or_impossible_size_are_not_planned_for():
    inside = [held(1, "a", idle=9), held(2, "b", idle=8)]
    sizes = equal("abpx") | {"whale": Size(mib=5000, load_seconds=1.0)}
    ahead = ["p", "whale", "nobody", "p", "a", "whale", "x", "p", "b"]
    leaves = choose(inside, shortfall_mib=100, coming=ahead, newcomer="x", sizes=sizes, staying={"p"})
    assert leaves == (2,)


def test_two_residents_of_one_model_serve_the_same_uses():
    inside = [held(1, "a", idle=1), held(2, "a", idle=2), held(3, "b", idle=900)]
    assert choose(inside, shortfall_mib=100, coming="bab", newcomer="x", sizes=equal("abx")) == (2,)


def test_six_models_over_the_whole_horizon_take_less_than_twenty_milliseconds():
    mib = {"a": 5048, "b": 5048, "c": 3000, "d": 2450, "e": 1400, "f": 400}
    sizes = {model: Size(mib=size, load_seconds=size / 700) for model, size in mib.items()}
    inside = [held(number, model, mib[model]) for number, model in enumerate("bdef")]
    ahead = ("abcdefacebdf" * HORIZON)[:HORIZON]
    took = []
    for _ in range(5):
        began_s = time.perf_counter()
        assert choose(inside, shortfall_mib=4346, coming=ahead, newcomer="a", sizes=sizes) is not None
        took.append(time.perf_counter() - began_s)
    assert min(took) < 0.020


def test_thirty_models_end_too_and_free_enough():
    models = [f"m{number}" for number in range(30)]
    sizes = {model: Size(mib=100 + number, load_seconds=1 + number % 5) for number, model in enumerate(models)}
    inside = [held(number, model, 100 + number) for number, model in enumerate(models[:20])]
    began_s = time.perf_counter()
    leaving = choose(inside, shortfall_mib=500, coming=models * 3, newcomer="m29", sizes=sizes)
    assert leaving is not None
    assert sum(100 + number for number in leaving) >= 500
    assert time.perf_counter() - began_s < 20, f"a beam of {BEAM} bounds it"
