"""What prices did since an earlier list. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from blocks.checking.findings import Finding, fail, figure, fine, named, warn
from blocks.checking.settings import CheckSettings
from governor.policy.facts import Fact


class Price(Fact):
    """One item of a list."""

    item: str
    amount: Decimal
    currency: str


class PriceList(Fact):
    """A list.

    Attributes:
        unreadable: items whose price is none. twice: items that stand in it with two prices.
        is_cut: whether it goes on.
    """

    name: str
    prices: dict[str, Price]
    unreadable: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()
    is_cut: bool = False


def judge(now: PriceList, before: Mapping[str, Price], settings: CheckSettings) -> list[Finding]:
    """One finding for each item that changed, went or cannot be read, and one for all others."""
    if not before:
        same = [fine("the list", f"{len(now.prices)} prices; there is no earlier list yet.", value=len(now.prices))]
        return [*same, *_faults(now)]
    found = [
        finding for key, price in sorted(now.prices.items()) for finding in _of_item(price, before.get(key), settings)
    ]
    gone = sorted(before.keys() - now.prices.keys() - {_key(name) for name in now.unreadable}) if not now.is_cut else []
    found += [
        fail(named(before[key].item), f"{named(before[key].item)} is missing from the list.", value="missing")
        for key in gone
    ]
    quiet = len(now.prices) - len(found) + len(gone)
    same = fine("the list", f"{quiet} of {len(now.prices)} prices are as they were.", value=quiet)
    return [*found, *_faults(now), same]


def _of_item(now: Price, before: Price | None, settings: CheckSettings) -> Iterable[Finding]:
    subject = named(now.item)
    if before is None:
        yield fine(subject, f"{subject} is new at {now.amount} {now.currency}.", value=now.amount)
    elif now.currency != before.currency:
        what = f"The currency of {subject} changed from {before.currency} to {now.currency}."
        yield fail(subject, what, value=now.currency, limit=before.currency)
    elif now.amount != before.amount:
        yield _change(subject, now, before, settings.price_percent)


def _change(subject: str, now: Price, before: Price, most: float) -> Finding:
    percent = float(100 * (now.amount - before.amount) / before.amount) if before.amount else 100.0
    way = "rose" if percent > 0 else "fell"
    size = f"{figure(round(abs(percent), 1))} %"
    what = f"The price of {subject} {way} by {size}, from {before.amount} to {now.amount} {now.currency}"
    if abs(percent) > most:
        limit = f"{figure(most)} %"
        return fail(subject, f"{what}; more than {limit} is unusual.", value=f"{percent:+.1f} %", limit=limit)
    return fine(subject, f"{what}.", value=f"{percent:+.1f} %")


def _faults(now: PriceList) -> list[Finding]:
    bad = [warn(named(item), f"The price of {named(item)} cannot be read.", value="none") for item in now.unreadable]
    bad += [warn("the list", f"Of the list only the first {len(now.prices)} prices were read.")] if now.is_cut else []
    return bad + [warn(named(item), f"{named(item)} stands in the list twice.", value="twice") for item in now.twice]


def _key(item: str) -> str:
    return item.casefold()
