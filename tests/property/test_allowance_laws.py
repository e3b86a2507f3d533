"""The ledger on real rows: whatever order calls come, end and come back in, no span gets more than the provider gives.

What counts is reckoned here a second time, call by call and day by day, from what was granted.
"""

import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from governor import ledger
from governor.errors import TierShut
from governor.ledger import Reservation, Wish
from governor.policy.allowance import LENGTHS, ON_ITS_WAY, Left, share_left, shut, span_end, span_start
from governor.policy.requests import Allowance, CloudModel, Span
from governor.settings import prepare_home

# The hours around a change of the clocks there, the end of a month among them.
BEGIN = datetime(2026, 10, 31, 22, 30, tzinfo=UTC)
PACIFIC, KATHMANDU = "America/Los_Angeles", "Asia/Kathmandu"
LONG = (Span.FIVE_HOURS, Span.DAY, Span.WEEK, Span.MONTH)

allowances = st.builds(
    Allowance,
    unit=st.sampled_from(["requests", "tokens"]),
    span=st.sampled_from(list(Span)),
    amount=st.integers(1, 12),
    slides=st.booleans(),
)
zones = st.sampled_from(["UTC", PACIFIC, KATHMANDU, "Mars/Olympus"])
steps = st.one_of(
    st.sampled_from([0.0, 0.5, 1.0, 9.0, 60.0, 1800.0, 3600.0, 18_000.0, 86_400.0, 90_000.0, 30 * 86_400.0]),
    st.floats(0, 7200),
)


class LedgerMachine(RuleBasedStateMachine):
    """Calls of one tier that are reserved, settled for less or given back, while time passes."""

    open_calls = Bundle("open_calls")

    @initialize(given=st.lists(allowances, min_size=1, max_size=4), zone=zones)
    def begin(self, given: list[Allowance], zone: str) -> None:
        self.stack = ExitStack()
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        patch.setenv("HOTDESK_HOME", f"{folder}/home")
        prepare_home()
        self.now = BEGIN
        self.model = CloudModel(
            name="a/b",
            calls="a/b",
            context_tokens=8192,
            parameters_billion=1,
            free=True,
            zone=zone,
            allowances=tuple(given),
        )
        self.tokens: dict[int, int] = {}
        self.calls: dict[int, Reservation] = {}
        self.ended: dict[int, int] = {}

    @rule(seconds=steps)
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(target=open_calls, tokens=st.integers(0, 4), due=st.booleans())
    def somebody_calls(self, tokens: int, due: bool):
        holds = all(self._holds(allowance, tokens, due) for allowance in self.model.allowances)
        try:
            mine = ledger.reserve(self.model, Wish(tokens=tokens, due=due), now=self.now)
        except TierShut as shut:
            assert not holds, shut.data["why"]
            assert shut.data["until"] is not None
            return multiple()
        self.now = max(self.now, mine.at)
        assert holds
        self.calls[mine.id], self.tokens[mine.id] = mine, tokens
        return mine

    @rule(mine=open_calls, share=st.floats(0, 1))
    def a_call_ends(self, mine: Reservation, share: float) -> None:
        took = int(share * mine.tokens)
        ledger.settle(mine, tokens=took, usd=0.0, now=self.now)
        self.tokens[mine.id] = self._first_word(mine, took)

    @rule(mine=open_calls)
    def a_call_never_left(self, mine: Reservation) -> None:
        ledger.give_back(mine)
        if self._first_word(mine, -1) == -1:
            self.calls.pop(mine.id, None)

    @invariant()
    @precondition(lambda self: hasattr(self, "model"))
    def what_counts_is_what_was_granted(self) -> None:
        found = ledger.lefts([self.model], self.now)["a/b"]
        assert [left.used for left in found] == [self._used(allowance) for allowance in self.model.allowances]
        assert all(left.used <= left.allowance.amount for left in found)
        assert all(left.until >= self.now for left in found)
        assert 0.0 <= share_left(found) <= 1.0

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()

    def _first_word(self, mine: Reservation, word: int) -> int:
        """A call ends once; what is said of it later changes nothing."""
        return self.ended.setdefault(mine.id, word)

    def _used(self, allowance: Allowance) -> int:
        counted = [mine.id for mine in self.calls.values() if self._counts(allowance, mine.at)]
        return len(counted) if allowance.unit == "requests" else sum(self.tokens[use_id] for use_id in counted)

    def _counts(self, allowance: Allowance, at: datetime) -> bool:
        if allowance.slides or allowance.span not in (Span.DAY, Span.MONTH) or self.model.zone == "Mars/Olympus":
            return self.now - at < LENGTHS[allowance.span]
        zone, letters = ZoneInfo(self.model.zone), "%Y-%m-%d" if allowance.span is Span.DAY else "%Y-%m"
        # Strictly less than ten seconds before midnight: then it may be counted on the new day.
        late = at + ON_ITS_WAY - timedelta(microseconds=1)
        return self.now.astimezone(zone).strftime(letters) in {t.astimezone(zone).strftime(letters) for t in (at, late)}

    def _holds(self, allowance: Allowance, tokens: int, due: bool) -> bool:
        kept = 0 if due or allowance.span not in LONG else allowance.amount // 5
        needed = 1 if allowance.unit == "requests" else max(1, tokens)
        return self._used(allowance) + needed <= allowance.amount - kept


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)

lefts = st.lists(
    st.builds(
        Left,
        allowance=allowances,
        used=st.integers(0, 15),
        until=st.floats(0, 90_000).map(lambda seconds: BEGIN + timedelta(seconds=seconds)),
    ),
    max_size=4,
)


@given(lefts, st.integers(0, 15))
def test_what_is_granted_to_anybody_is_granted_to_who_has_a_due_time(found: list[Left], tokens: int):
    now = BEGIN
    if shut(found, tokens=tokens, due=False, now=now) is None:
        assert shut(found, tokens=tokens, due=True, now=now) is None


@given(lefts, st.integers(0, 15), st.booleans())
def test_a_refusal_lasts_as_long_as_the_last_allowance_that_refuses(found: list[Left], tokens: int, due: bool):
    each = [shut([one], tokens=tokens, due=due, now=BEGIN) for one in found]
    whole = shut(found, tokens=tokens, due=due, now=BEGIN)
    ends = [one.until for one in each if one is not None]
    assert (whole.until if whole else None) == max(ends, default=None)


@given(
    st.sampled_from(["UTC", PACIFIC, KATHMANDU, "Asia/Beirut", "America/Havana", "Africa/Cairo", "Pacific/Apia"]),
    st.sampled_from([Span.DAY, Span.MONTH]),
    st.datetimes(datetime(2010, 1, 1), datetime(2035, 1, 1)),
)
def test_every_moment_lies_in_one_day_and_one_month_of_every_zone(zone: str, span: Span, moment: datetime):
    now = moment.replace(tzinfo=UTC)
    start, end = span_start(span, zone, now), span_end(span, zone, now)
    assert start <= now < end
    assert span_start(span, zone, end) == end
    assert span_end(span, zone, start) == end
