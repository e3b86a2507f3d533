"""A cloud call is written down before it is made: allowances, head-room, closed tiers and the price forbid it there."""

import math
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from governor import ledger, tier_states
from governor.errors import TierShut
from governor.ledger import Wish
from governor.policy.requests import Allowance, CloudModel, Span
from governor.settings import Home
from governor.state.sessions import one_reading, reading
from governor.tidying import tidy_lines

pytestmark = pytest.mark.usefixtures("hotdesk_home")
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DUE = Wish(tokens=100, due=True)


def model(name: str = "groq/big", *allowances: Allowance, **facts: Any) -> CloudModel:
    given: dict[str, Any] = {"free": True, **facts}
    return CloudModel(name=name, calls=name, context_tokens=8192, parameters_billion=70, allowances=allowances, **given)


def requests(span: Span, amount: int, **facts: Any) -> Allowance:
    return Allowance(unit="requests", span=span, amount=amount, **facts)


def tokens(span: Span, amount: int, **facts: Any) -> Allowance:
    return Allowance(unit="tokens", span=span, amount=amount, **facts)


def used(tier: CloudModel, now: datetime) -> list[int]:
    return [left.used for left in ledger.lefts([tier], now)[tier.name]]


def refusal(tier: CloudModel, wish: Wish = DUE, now: datetime = NOON) -> TierShut:
    with pytest.raises(TierShut) as shut:
        ledger.reserve(tier, wish, now=now)
    return shut.value


def test_a_call_counts_from_its_reservation_on_and_with_its_own_tokens_once_it_is_settled():
    tier = model("groq/big", requests(Span.DAY, 10), tokens(Span.MINUTE, 1000))
    first = ledger.reserve(tier, Wish(tokens=400, agent="digest/news"), now=NOON)
    assert used(tier, NOON) == [1, 400]
    ledger.settle(first, tokens=250, usd=0.0, now=NOON)
    assert used(tier, NOON) == [1, 250]
    ledger.settle(first, tokens=900, usd=0.0, now=NOON)  # said twice
    ledger.give_back(first)  # too late
    assert used(tier, NOON) == [1, 250]
    other = ledger.reserve(tier, DUE, now=NOON)
    ledger.give_back(other)
    ledger.give_back(other)
    ledger.settle(other, tokens=100, usd=0.0, now=NOON)
    assert used(tier, NOON) == [1, 250]


def test_the_last_call_of_a_day_is_refused_until_midnight_of_the_provider_and_then_there_are_new_ones():
    tier = model("gemini/flash", requests(Span.DAY, 2), zone="America/Los_Angeles")
    for _ in range(2):
        ledger.reserve(tier, DUE, now=NOON)
    shut = refusal(tier)
    assert shut.data["until"] == datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
    assert shut.data["why"] == "allowance spent until 08:00 UTC (2 of 2 requests a day)"
    assert shut.data["tier"] == "gemini/flash" and "Nothing was sent" in str(shut)
    refusal(tier, now=datetime(2026, 11, 26, 7, 59, 59, tzinfo=UTC))
    ledger.reserve(tier, DUE, now=datetime(2026, 11, 26, 8, 0, tzinfo=UTC))


def test_a_call_right_before_midnight_counts_on_both_days():
    tier = model("openrouter/m", requests(Span.DAY, 1))
    midnight = datetime(2026, 11, 26, tzinfo=UTC)
    ledger.reserve(tier, DUE, now=midnight - timedelta(seconds=5))
    assert refusal(tier, now=midnight + timedelta(seconds=1)).data["until"] == midnight + timedelta(days=1)
    other = model("openrouter/n", requests(Span.DAY, 1))
    ledger.reserve(other, DUE, now=midnight - timedelta(seconds=15))
    ledger.reserve(other, DUE, now=midnight)


@pytest.mark.parametrize("span", [Span.SECOND, Span.MINUTE, Span.HOUR, Span.FIVE_HOURS, Span.WEEK])
def test_a_span_that_slides_has_room_again_when_its_oldest_call_leaves_it(span: Span):
    length = {
        Span.SECOND: timedelta(seconds=1),
        Span.MINUTE: timedelta(minutes=1),
        Span.HOUR: timedelta(hours=1),
        Span.FIVE_HOURS: timedelta(hours=5),
        Span.WEEK: timedelta(days=7),
    }[span]
    tier = model("mistral/small", requests(span, 2))
    ledger.reserve(tier, DUE, now=NOON - length / 2)
    ledger.reserve(tier, DUE, now=NOON - length / 4)
    assert refusal(tier).data["until"] == NOON + length / 2
    assert used(tier, NOON + length / 2) == [1]
    ledger.reserve(tier, DUE, now=NOON + length / 2)
    refusal(tier, now=NOON + length / 2)


def test_a_month_is_counted_by_the_hour_and_its_edge_by_the_call():
    sliding = model("cohere/r", requests(Span.MONTH, 4, slides=True), tokens(Span.MONTH, 1000))
    for minutes in (-30 * 24 * 60 - 1, -30 * 24 * 60 + 1, -30 * 24 * 60 + 30, -90, 0):
        ledger.reserve(sliding, DUE, now=NOON + timedelta(minutes=minutes))
    assert used(sliding, NOON) == [4, 200]
    assert refusal(sliding).data["until"] == NOON + timedelta(minutes=1)


def test_tokens_that_do_not_fit_are_refused_and_fit_once_the_others_took_less():
    tier = model("groq/big", tokens(Span.DAY, 1000))
    first = ledger.reserve(tier, Wish(tokens=700, due=True), now=NOON)
    why = refusal(tier, Wish(tokens=400, due=True)).data["why"]
    assert why == "about 400 tokens are needed, 300 of 1,000 tokens a day are left until 00:00 UTC"
    ledger.settle(first, tokens=100, usd=0.0, now=NOON)
    ledger.reserve(tier, Wish(tokens=400, due=True), now=NOON)


def test_an_answer_that_took_more_than_was_thought_leaves_nothing_and_never_less():
    tier = model("groq/big", tokens(Span.DAY, 1000))
    first = ledger.reserve(tier, DUE, now=NOON)
    ledger.settle(first, tokens=5000, usd=0.0, now=NOON)
    assert [left.left for left in ledger.lefts([tier], NOON)[tier.name]] == [0]
    assert refusal(tier).data["why"].startswith("allowance spent until 00:00 UTC (5,000 of 1,000 tokens")


def test_the_last_fifth_of_a_day_is_for_requests_with_a_due_time():
    tier = model("sambanova/m", requests(Span.DAY, 5), requests(Span.MINUTE, 5))
    for _ in range(4):
        ledger.reserve(tier, Wish(tokens=1), now=NOON)
    assert refusal(tier, Wish(tokens=1)).data["why"].startswith("keeps its last 20% for work with a due time")
    ledger.reserve(tier, DUE, now=NOON)
    assert refusal(tier).data["why"].startswith("allowance spent until 00:00 UTC")


def test_all_tiers_of_a_provider_take_from_a_shared_allowance():
    day = requests(Span.DAY, 2, shared=True)
    one, two, other = model("openrouter/a", day), model("openrouter/b", day), model("openrouter2/a", day)
    ledger.reserve(one, DUE, now=NOON)
    ledger.reserve(other, DUE, now=NOON)
    ledger.reserve(two, DUE, now=NOON)
    assert (used(one, NOON), used(two, NOON), used(other, NOON)) == ([2], [2], [1])
    refusal(one)
    refusal(two)
    ledger.reserve(other, DUE, now=NOON)


def test_a_tier_that_another_process_closed_is_not_called():
    tier = model()
    until = NOON + timedelta(minutes=5)
    tier_states.close(tier.name, until, closed_for="rate", why="groq got too many calls at once", now=NOON)
    shut = refusal(tier)
    assert shut.data["why"] == "cooling down until 12:05 UTC: groq got too many calls at once"
    assert shut.data["until"] == until
    ledger.reserve(tier, DUE, now=until)


@pytest.mark.parametrize(
    ("usd", "ceiling", "why"),
    [
        (0.01, 0.0, "costs money, and the operator allows none"),
        (0.01, 0.005, "would cost up to $0.0100; $0.00 of $0.01 a day are spent"),
        (None, 1000.0, "its price is unknown, and what is unknown is not free"),
        (math.nan, 1000.0, "its price is unknown, and what is unknown is not free"),
        (math.inf, math.inf, "its price is unknown, and what is unknown is not free"),
        (-5.0, 1000.0, "its price is unknown, and what is unknown is not free"),
        (0.01, math.nan, "would cost up to $0.0100; $0.00 of $nan a day are spent"),
        (0.01, 0.01, None),
        (0.0, 0.0, None),
    ],
)
def test_what_is_not_free_is_called_only_under_a_ceiling_that_holds_it(
    usd: float | None, ceiling: float, why: str | None
):
    paid = model("openai/gpt", free=False)
    wish = Wish(tokens=100, usd=usd, due=True, ceiling_usd=ceiling)
    if why is None:
        ledger.reserve(paid, wish, now=NOON)
    else:
        assert refusal(paid, wish).data["why"] == why
        assert used(model("openai/gpt", requests(Span.DAY, 1)), NOON) == [0]


def test_the_ceiling_holds_for_all_paid_tiers_of_a_day_together_and_for_calls_on_their_way():
    one, two = model("openai/a", free=False), model("xai/b", free=False)
    wish = Wish(tokens=100, usd=0.4, due=True, ceiling_usd=1.0)
    first = ledger.reserve(one, wish, now=NOON)
    second = ledger.reserve(two, wish, now=NOON)
    refusal(one, wish)
    ledger.give_back(second)
    ledger.settle(first, tokens=100, usd=0.1, now=NOON)
    for _ in range(2):
        ledger.reserve(two, wish, now=NOON)
    assert refusal(two, wish).data["why"] == "would cost up to $0.4000; $0.90 of $1.00 a day are spent"
    with reading() as session:
        assert ledger.spent_usd_today(session, NOON) == pytest.approx(0.9)
        assert ledger.spent_usd_today(session, NOON + timedelta(days=1)) == 0.0
    ledger.reserve(one, wish, now=NOON + timedelta(days=1))


def test_a_free_model_costs_nothing_whatever_its_list_price():
    free = model("groq/big", input_usd=1.0, output_usd=1.0)
    ledger.settle(ledger.reserve(free, Wish(tokens=100, usd=3.0), now=NOON), tokens=100, usd=0.0, now=NOON)
    ledger.reserve(free, Wish(tokens=100, usd=3.0), now=NOON)
    with reading() as session:
        assert ledger.spent_usd_today(session, NOON) == 0.0


def test_one_look_is_for_all_models_and_leaves_none_out():
    tiers = [model("groq/big", requests(Span.DAY, 10)), model("zai/flash"), model("groq/small", tokens(Span.MINUTE, 9))]
    ledger.reserve(tiers[0], DUE, now=NOON)
    assert {name: len(lefts) for name, lefts in ledger.lefts(tiers, NOON).items()} == {
        "groq/big": 1,
        "zai/flash": 0,
        "groq/small": 1,
    }
    assert ledger.lefts([], NOON) == {}
    with one_reading():
        assert ledger.lefts(iter(tiers), NOON)["groq/big"][0].used == 1


def forty_days_before(now: datetime) -> datetime:
    return now - ledger.KEEP - timedelta(hours=2)


def test_what_counts_in_no_span_any_more_is_forgotten(hotdesk_home: Home):
    tier = model("cohere/r", requests(Span.MONTH, 1000))
    for moment in (forty_days_before(NOON), forty_days_before(NOON), NOON - timedelta(days=24), NOON):
        ledger.reserve(tier, DUE, now=moment)
    before = used(tier, NOON)
    assert (ledger.prune(NOON), ledger.prune(NOON)) == (2, 0)
    assert used(tier, NOON) == before == [2]
    with sqlite3.connect(hotdesk_home.database) as db:
        assert db.execute("SELECT count(*) FROM allowance_uses").fetchone() == (2,)
        assert db.execute("SELECT count(*) FROM allowance_hours").fetchone() == (2,)


def test_the_governor_forgets_old_calls_when_it_tidies_up():
    now = datetime.now(UTC)
    ledger.reserve(model(), DUE, now=forty_days_before(now))
    assert tidy_lines([]) == []
    assert ledger.prune(now) == 0


@pytest.mark.parametrize(
    "act",
    [
        lambda: ledger.prune(NOON),
        lambda: ledger.lefts([model("groq/big", requests(Span.DAY, 1))], NOON),
        lambda: tier_states.closed(NOON),
        lambda: tier_states.succeeded("groq/big", NOON),
    ],
)
def test_looking_writes_nothing_and_waits_for_nobody_who_writes(act: Callable[[], object], hotdesk_home: Home):
    ledger.reserve(model(), DUE, now=NOON)
    with sqlite3.connect(hotdesk_home.database, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        act()
        other.execute("ROLLBACK")


def test_hours_and_calls_say_the_same(hotdesk_home: Home):
    tier = model("groq/big", requests(Span.DAY, 100))
    for minutes in range(0, 200, 20):
        mine = ledger.reserve(tier, DUE, now=NOON + timedelta(minutes=minutes))
        if minutes % 60 == 0:
            ledger.give_back(mine)
        elif minutes % 60 == 20:
            ledger.settle(mine, tokens=minutes, usd=0.0, now=NOON)
    by_call = (
        "SELECT substr(at, 1, 13), sum(state <> 'returned'), sum(tokens * (state <> 'returned'))"
        " FROM allowance_uses GROUP BY 1"
    )
    by_hour = "SELECT substr(hour, 1, 13), requests, tokens FROM allowance_hours"
    with sqlite3.connect(hotdesk_home.database) as db:
        assert sorted(db.execute(by_call).fetchall()) == sorted(db.execute(by_hour).fetchall())
