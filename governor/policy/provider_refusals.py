"""What a provider's refusal means for the calls that come: closed for how long, and for what. Pure.

A spent allowance closes a tier until that begins anew, too many calls at once only for a moment. What each provider
writes is `policy.provider_texts`, how it writes times `policy.waiting_times`. Nothing that a provider wrote goes
further than here: such texts name accounts and keys.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from governor.policy.allowance import LENGTHS, span_end, span_start
from governor.policy.facts import Fact
from governor.policy.provider_texts import UNKNOWN, WORDINGS, Wording, found
from governor.policy.requests import CloudModel, Span
from governor.policy.waiting_times import (
    asked_seconds,
    length_seconds,
    named_reset_seconds,
    reset_seconds,
    retry_after_seconds,
)

# Who says neither how long nor why: as the limits of most free tiers, by the minute, a third of one.
RATE_SECONDS, LEAST_RATE_SECONDS, MOST_RATE_SECONDS = 20.0, 1.0, 3600.0
# A key, an account or a catalogue that is wrong is set right by a person.
WRONG_SECONDS = 3600.0
# Beside a spent day some name the wait for the next minute (see Gemini in `policy.provider_texts`).
LEAST_QUOTA_SECONDS = 60.0
# A wait that ends this close to the midnight that is known was told for the spent day.
NEAR_SECONDS = 3600.0
# Where nobody knows when an allowance begins anew, or it does bit by bit, one call asks again after this.
RECHECK_SECONDS = {
    Span.HOUR: 600.0,
    Span.FIVE_HOURS: 3600.0,
    Span.DAY: 3600.0,
    Span.WEEK: 86_400.0,
    Span.MONTH: 86_400.0,
}
LENGTH_IN_WORDS = {Span.HOUR: "an hour", Span.FIVE_HOURS: "five hours"}
# Right after a midnight the refusal may be that of the day before, by a clock behind ours.
CLOCKS_DIFFER = timedelta(minutes=5)
# Of an answer; error texts are a few hundred characters long, an error page can be megabytes.
READ_CHARACTERS, READ_OF_A_HEADER = 20_000, 100
FIVE_HOURS_SECONDS, WEEK_SECONDS = 18_000, 7 * 86_400
MONDAY_SECONDS = 4 * 86_400  # 1970 began on a Thursday

SPANS = {
    "s": Span.SECOND,
    "mi": Span.MINUTE,
    "h": Span.HOUR,
    "d": Span.DAY,
    "w": Span.WEEK,
    "mo": Span.MONTH,
}
# The first span that an error text speaks of; what follows is often an offer ("... unlock 1000 requests per day").
MENTION = re.compile(
    r"(?:(?:\b|_)per|/)[-_ ]?(second|sec|minute|min|hour|day|week|month)\b|\b(dai|hour|week|month)ly\b", re.IGNORECASE
)
IN_BODY = re.compile(r"(X-RateLimit-[A-Za-z-]{1,20})\W{1,8}(\d{1,15})")


class ProviderRefusal(Fact):
    """A tier is closed until then.

    Attributes:
        closed_for: `rate`, `quota`, `key` or `gone`. why: in our own words.
        span: the one whose allowance is spent, None when none is.
        wants_money: the key is good and the account is not; what costs nothing may go on with it.
    """

    closed_for: str
    until: datetime
    why: str
    span: Span | None = None
    wants_money: bool = False

    def also_closes(self, model: CloudModel, known: Iterable[CloudModel]) -> tuple[str, ...]:
        """Other tiers that would refuse alike: those called with the same key, or that share what is spent.

        Args:
            model: who refused. known: every tier that there is.
        """
        return tuple(other.name for other in known if other.name != model.name and self._concerns(model, other))

    def _concerns(self, model: CloudModel, other: CloudModel) -> bool:
        if other.provider != model.provider:
            return False
        if self.closed_for == "key":
            return other.key_variables == model.key_variables and not self.wants_money
        return _shares(model, self.span) and _shares(other, self.span)


def read_refusal(
    model: CloudModel, *, status: int, headers: Mapping[str, str], body: str, now: datetime
) -> ProviderRefusal | None:
    """What an answer with an error says about the tier; None when it says nothing beyond this one call.

    Args:
        status: of HTTP. headers: in any case, with the prefix that litellm puts before them or without. body: as it
            came, or a text that contains it; only its beginning is read.
    """
    wording = _wording(model)
    text = body[:READ_CHARACTERS]
    if (status in (401, 403) and not found(wording.no_fault_of_the_key, text)) or (
        status == 400 and found(wording.bad_key, text)
    ):
        return _wrong("key", f"{model.provider} does not accept the key", now)
    if status == 402 or (status == 429 and found(wording.wants_money, text)):
        return _wrong("key", f"{model.provider} wants the account to be paid", now, wants_money=True)
    if status in (404, 410):
        return _wrong("gone", f"{model.provider} has no such model", now)
    if status != 429:
        return None
    return _too_many(model, wording, _known(headers, text), text, now)


def _too_many(
    model: CloudModel, wording: Wording, headers: Mapping[str, str], text: str, now: datetime
) -> ProviderRefusal:
    span = _spent_span(model, wording, headers, text)
    if span is not None:
        until = _quota_until(model, wording, span, _waits(wording, span, headers, text, now), now)
        length = LENGTH_IN_WORDS.get(span, f"a {span.value}")
        why = f"{model.provider} says that its allowance for {length} is spent"
        return ProviderRefusal(closed_for="quota", until=until, why=why, span=span)
    seconds = next(iter(_waits(wording, None, headers, text, now)), RATE_SECONDS)
    seconds = min(MOST_RATE_SECONDS, max(LEAST_RATE_SECONDS, seconds))
    why = f"{model.provider} got too many calls at once"
    return ProviderRefusal(closed_for="rate", until=now + timedelta(seconds=seconds), why=why)


def _wording(model: CloudModel) -> Wording:
    return WORDINGS.get(model.calls.partition("/")[0]) or WORDINGS.get(model.provider) or UNKNOWN


def _wrong(closed_for: str, why: str, now: datetime, *, wants_money: bool = False) -> ProviderRefusal:
    until = now + timedelta(seconds=WRONG_SECONDS)
    return ProviderRefusal(closed_for=closed_for, until=until, why=why, wants_money=wants_money)


def _known(headers: Mapping[str, str], text: str) -> dict[str, str]:
    """The headers by their plain names, with those that OpenRouter tells in the body."""
    told = {name.lower(): value for name, value in IN_BODY.findall(text)}
    sent = {name.lower().removeprefix("llm_provider-"): str(value) for name, value in headers.items()}
    return told | {name: value[:READ_OF_A_HEADER] for name, value in sent.items()}


def _spent_span(model: CloudModel, wording: Wording, headers: Mapping[str, str], text: str) -> Span | None:
    """Which long allowance is spent; None when only too much came at once."""
    for pattern, span in wording.quotas:
        if found(pattern, text):
            return span
    mentioned = _first_mention(text)
    if mentioned is not None:
        return None if mentioned in (Span.SECOND, Span.MINUTE) else mentioned
    return Span.DAY if _is_limit_of_a_day(model, wording, text) else _spent_by_header(wording, headers)


def _first_mention(text: str) -> Span | None:
    if text.lstrip().startswith("<"):
        return None  # a page for people, of whatever stands before the provider
    mention = MENTION.search(text)
    if mention is None:
        return None
    word = (mention.group(1) or mention.group(2)).lower()
    return SPANS.get(word[:2] if word.startswith(("mi", "mo")) else word[0])


def _spent_by_header(wording: Wording, headers: Mapping[str, str]) -> Span | None:
    spent = [name for name in headers if "remaining" in name and _number(headers[name]) == 0]
    if any(name.endswith("month") for name in spent):
        return Span.MONTH
    return Span.DAY if any(name.endswith("day") or name == wording.spent_header for name in spent) else None


def _is_limit_of_a_day(model: CloudModel, wording: Wording, text: str) -> bool:
    """Where only the message came through: a limit of 0, or one that is known as that of a day and of no minute."""
    if "quotaId" in text:
        return False
    limits = {int(limit) for limit in re.findall(wording.limit, text)}
    amounts = {span: {a.amount for a in model.allowances if a.span is span} for span in (Span.MINUTE, Span.DAY)}
    return 0 in limits or bool((limits & amounts[Span.DAY]) - amounts[Span.MINUTE])


def _waits(wording: Wording, span: Span | None, headers: Mapping[str, str], text: str, now: datetime) -> list[float]:
    """Every wait that is asked for, in seconds, the most telling first."""
    resets = [
        reset_seconds(headers.get(name.replace("remaining", "reset"), ""), now)
        for name, value in headers.items()
        if "remaining" in name and _number(value) == 0
    ]
    named = named_reset_seconds(text, now)
    if named is not None and span is not None and named > LENGTHS[span].total_seconds():
        named = named_reset_seconds(text, now + timedelta(hours=wording.hours_east))
    told = [retry_after_seconds(headers, now), asked_seconds(text), named, *resets]
    return [seconds for seconds in told if seconds is not None]


def _number(value: str) -> float | None:
    """The number in a header, 0 included; None where there is none."""
    return 0.0 if value.strip() in ("0", "0.0") else length_seconds(value)


def _quota_until(model: CloudModel, wording: Wording, span: Span, waits: list[float], now: datetime) -> datetime:
    slides = wording.slides or any(a.slides for a in model.allowances if a.span is span)
    ends = span_end(span, model.zone, now) if wording.midnight and not slides else None
    for seconds in waits:
        named = max(LEAST_QUOTA_SECONDS, seconds) if slides else seconds
        is_near = ends is None or abs((ends - now).total_seconds() - named) <= NEAR_SECONDS
        if named >= LEAST_QUOTA_SECONDS and is_near:
            return now + min(timedelta(seconds=named), LENGTHS[span])
    if wording.fixed and span in (Span.FIVE_HOURS, Span.WEEK):
        return _fixed_end(span, now)
    if slides or span not in (Span.DAY, Span.MONTH) or wording.fixed:
        return now + timedelta(seconds=RECHECK_SECONDS[span])
    began = span_start(span, model.zone, now)
    return began + CLOCKS_DIFFER if now - began < CLOCKS_DIFFER else span_end(span, model.zone, now)


def _shares(model: CloudModel, span: Span | None) -> bool:
    return any(allowance.shared and allowance.span is span for allowance in model.allowances)


def _fixed_end(span: Span, now: datetime) -> datetime:
    """The next multiple of five hours, or the next Monday, both UTC."""
    length, offset = (FIVE_HOURS_SECONDS, 0) if span is Span.FIVE_HOURS else (WEEK_SECONDS, MONDAY_SECONDS)
    passed = (int(now.timestamp()) - offset) // length
    return datetime.fromtimestamp((passed + 1) * length + offset, UTC)
