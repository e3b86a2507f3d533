"""Price lists (CSV: item, price, currency), alone or a folder of them whose names sort by day."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path

from blocks.checking.prices import Price, PriceList
from blocks.reading.places import files_in, unreadable
from blocks.reading.rows import read_rows, require

SUFFIXES = frozenset({".csv", ".tsv"})
SIGNS = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY"}
AMOUNT = re.compile(r"\d+(?:[ '.,\u00a0\u202f]\d+)*")
# After a mark: more of them are thousands, but in 0.125.
MOST_CENTS = 2


def read_prices(source: str, *, max_bytes: int) -> tuple[PriceList, PriceList | None]:
    """The newest list, and the one before where the source is a folder of several.

    Raises:
        BadInput: there is no list.
    """
    files = sorted(files_in(source, SUFFIXES), key=lambda path: path.name)
    if not files:
        raise unreadable(source, "there is no CSV file in it")
    return _list(files[-1], max_bytes), _list(files[-2], max_bytes) if len(files) > 1 else None


def _list(path: Path, max_bytes: int) -> PriceList:
    rows = read_rows(path, max_bytes=max_bytes)
    require(rows, ("item", "price"), path.name)
    prices, bad, twice = dict[str, Price](), list[str](), list[str]()
    for row in rows:
        item, amount = " ".join(row["item"].split()), amount_of(row["price"])
        currency = row.get("currency", "").upper() or next((SIGNS[s] for s in SIGNS if s in row["price"]), "")
        if not item or amount is None:
            bad.append(item or "a row without a name")
        elif item.casefold() in prices:
            twice.append(item)
        else:
            prices[item.casefold()] = Price(item=item, amount=amount, currency=currency)
    return PriceList(name=path.name, prices=prices, unreadable=tuple(bad), twice=tuple(twice))


def amount_of(text: str) -> Decimal | None:
    """A price as people write it: 1.299,00 €, 1,299.00, 1'299; None where there is none, or more than one."""
    found = AMOUNT.findall(text)
    if len(found) != 1 or len(found[0]) > 20 or text.strip().startswith("-"):
        return None
    plain = re.sub(r"[ '\u00a0\u202f]", "", found[0])
    mark = max(plain.rfind("."), plain.rfind(","))
    cents = len(plain) - mark - 1
    both = len(set(re.findall(r"[.,]", plain))) == 2
    if mark >= 0 and (cents <= MOST_CENTS or both or plain.startswith("0")):
        plain = re.sub(r"[.,]", "", plain[:mark]) + "." + plain[mark + 1 :]
    else:
        plain = re.sub(r"[.,]", "", plain)
    try:
        return Decimal(plain)
    except InvalidOperation:
        return None


def as_values(prices: Mapping[str, Price]) -> dict[str, float | str]:
    """For the next run to be compared with."""
    return {f"price:{price.item}": f"{price.amount} {price.currency}" for price in prices.values()}


def from_values(values: Mapping[str, float | str]) -> dict[str, Price]:
    """The same back; what is no price is left out."""
    found = dict[str, Price]()
    for name, value in values.items():
        item, (amount, _, currency) = name.removeprefix("price:"), str(value).partition(" ")
        read = amount_of(amount)
        if item != name and read is not None:
            found[item.casefold()] = Price(item=item, amount=Decimal(amount), currency=currency)
    return found
