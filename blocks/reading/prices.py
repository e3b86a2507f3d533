"""Price lists (CSV: item, price, currency), alone or a folder of them whose names sort by day."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path

from blocks.checking.prices import Price, PriceList
from blocks.reading.places import MOST_NAMES, files_in, unreadable
from blocks.reading.rows import ROW_SUFFIXES, first_rows, require

SIGNS = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY"}
AMOUNT = re.compile(r"\d+(?:[ '.,\u00a0\u202f]\d+)*")
# Digits in groups of three with one mark between all of them, and what comes after another mark: 1.299,00, 1'299.
GROUPED = re.compile(r"[1-9]\d{0,2}(?:([ '.,])\d{3})(?:\1\d{3})*(?:(?!\1)[.,](\d+))?")
PLAIN = re.compile(r"\d+(?:[.,]\d+)?")


def read_prices(source: str, *, max_bytes: int) -> tuple[PriceList, PriceList | None]:
    """The newest list, and the one before where the source is a folder of several.

    Raises:
        BadInput: there is no list.
    """
    files = sorted(files_in(source, ROW_SUFFIXES, max_files=MOST_NAMES), key=lambda path: path.name)
    if not files:
        raise unreadable(source, "there is no CSV file in it")
    return _list(files[-1], max_bytes), _list(files[-2], max_bytes) if len(files) > 1 else None


def _list(path: Path, max_bytes: int) -> PriceList:
    part = first_rows(str(path), max_bytes=max_bytes)
    require(part.rows, ("item", "price"), path.name)
    prices, bad, twice = dict[str, Price](), list[str](), list[str]()
    for row in part.rows:
        item, amount = " ".join(row["item"].split()), amount_of(row["price"])
        currency = row.get("currency", "").upper() or next((SIGNS[s] for s in SIGNS if s in row["price"]), "")
        if not item or amount is None:
            bad.append(item or "a row without a name")
        elif item.casefold() in prices:
            twice.append(item)
        else:
            prices[item.casefold()] = Price(item=item, amount=amount, currency=currency)
    return PriceList(name=path.name, prices=prices, unreadable=tuple(bad), twice=tuple(twice), is_cut=part.is_cut)


def amount_of(text: str) -> Decimal | None:
    """A price as people write it: 1.299,00 €, 1,299.00, 1'299; None where there is none, or more than one.

    A mark before exactly three digits parts thousands where one to three digits stand before it, else it is a point.
    """
    found = AMOUNT.findall(text)
    if len(found) != 1 or len(found[0]) > 20 or text.strip().startswith("-"):
        return None
    amount = re.sub("[\u00a0\u202f]", " ", found[0])
    if grouped := GROUPED.fullmatch(amount):
        cents = grouped[2] or ""
        whole = amount.removesuffix(cents) if cents else amount
        return Decimal(re.sub(r"\D", "", whole) + (f".{cents}" if cents else ""))
    return Decimal(amount.replace(",", ".")) if PLAIN.fullmatch(amount) else None


def as_values(prices: Mapping[str, Price]) -> dict[str, float | str]:
    """For the next run to be compared with."""
    return {f"price:{price.item}": f"{price.amount} {price.currency}" for price in prices.values()}


def from_values(values: Mapping[str, float | str]) -> dict[str, Price]:
    """The same back; what is no price is left out."""
    found = dict[str, Price]()
    for name, value in values.items():
        item, (amount, _, currency) = name.removeprefix("price:"), str(value).partition(" ")
        try:
            read = Decimal(amount)
        except InvalidOperation:
            continue
        if item != name and read.is_finite():
            found[item.casefold()] = Price(item=item, amount=read, currency=currency)
    return found
