"""Amounts of money in texts, in European and American notation, and whether the lines of a paper add up. Pure.

What the paper is about otherwise (vendor, number, date) is `blocks.checking.papers`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

# Blanks as thousands separator only before a decimal comma, as French and Swedish papers have it: `2 150.00` is two
# pieces at 150.00. O and l stand for 0 and 1 where a scan was read by a machine.
DIGIT = "[0-9OlI]"
AMOUNT = re.compile(
    r"(?:(?<![\w.,/-])|(?<=EUR)|(?<=USD)|(?<=GBP)|(?<=CHF))[(]?[-−–+]?[€$£¥]?"
    rf"(?=[0-9lO])(?:[0-9]{{1,3}}(?:[ \u00a0\u202f][0-9]{{3}})+,[0-9]{{2}}"
    rf"|{DIGIT}{{1,3}}(?:[.,'’]{DIGIT}{{3}})+[.,]{DIGIT}{{2}}|{DIGIT}{{1,9}}[.,]{DIGIT}{{2}})"
    r"(?![\w/]|[.,-][0-9]|\s?%|\s?(?:kg|km|m|g|l|h|GB|MB|kWh)\b)(?:\)|-(?!\w)|[ ]?CR\b)?"
)
CURRENCY = re.compile(r"\b(?:EUR|USD|GBP|CHF|SEK|NOK|DKK|PLN|CZK|JPY)\b|[€$£¥]")
SYMBOLS = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY"}
READ_AS = str.maketrans("OlI", "011")
MOST_DIGITS = 15
ADDS_UP = "adds up"

TOTAL = re.compile(
    r"\btotal|gesamt|summe\b|betrag|(?:amount|balance|sum) (?:now )?due|zu zahlen|(?:to|à) (?:pay\b|payer)|montant dû",
    re.IGNORECASE,
)
SUB = re.compile(
    r"sub-?\s?total|sous-total|zwischen|\bnet\b(?! à payer)|netto|\bHT\b|excl\.|before (?:tax|vat)|carried|übertrag",
    re.IGNORECASE,
)
TAX = re.compile(r"\bvat\b|\btax\b|mwst|\bust\b|\btva\b|umsatzsteuer", re.IGNORECASE)
INCLUDED = re.compile(r"\bincl|\binkl|enthalten|\bdavon\b|\bdont\b|of which|\bttc\b|\bwith\b", re.IGNORECASE)
PAID = re.compile(
    r"\b(?:cash|card|change|paid|tendered|bar|gegeben|rückgeld|karte|carte|rendu|espèces|deposit paid|anzahlung)\b",
    re.IGNORECASE,
)
CREDIT = re.compile(r"credit (?:note|memo)|gutschrift|stornorechnung|\bavoir\b|note de crédit", re.IGNORECASE)
# Money that is named beside the bill: limits, earlier bills, funds of the company.
ASIDE = re.compile(r"\b(?:capital|iban|last (?:bill|invoice)|credit limit|previous balance)\b", re.IGNORECASE)


class Role(StrEnum):
    """What a line with an amount is for."""

    ITEM = "item"
    SUB = "sub"
    TAX = "tax"
    INCLUDED = "included"
    TOTAL = "total"
    PAID = "paid"
    ASIDE = "aside"


@dataclass(frozen=True)
class Sums:
    """What the lines above a total come to. `items`: how many are no tax."""

    items: int
    net: Decimal
    tax: Decimal

    def say(self, total: Decimal | None) -> str:
        """Whether the total is the sum, with or without the tax."""
        if total is None or not self.items:
            return "no lines to check"
        gross = self.net + self.tax
        return ADDS_UP if abs(total) in (abs(self.net), abs(gross)) else f"LINES SAY {gross}"


@dataclass(frozen=True)
class Priced:
    """A line with an amount: its place among the lines, its role, its amounts as written. `value`: of the last."""

    place: int
    role: Role
    raw: tuple[str, ...]
    value: Decimal


def amount(text: str) -> Decimal | None:
    """An amount in any notation: 1,237.75, 1.237,75, 1 237,75 and 1'237.75 are the same; (5.00), 5.00- are negative."""
    digits = re.sub(r"[^0-9.,]", "", text.translate(READ_AS) if re.search("[0-9]", text) else "")
    if not 1 <= sum(c.isdigit() for c in digits) <= MOST_DIGITS:
        return None
    head, mark, cents = re.fullmatch(r"(.*?)(?:([.,])([0-9]{1,2}))?", digits.strip(".,")).groups("")  # pyright: ignore[reportOptionalMemberAccess] -- every text matches
    value = Decimal((re.sub(r"[.,]", "", head) or "0") + ("." if mark else "") + cents)
    negative = re.search(r"[-−–]\s?[€$£¥]?\s?[0-9]|^\(.*\)$|[0-9]-$|CR$", text.strip())
    return -value if negative else value


def currencies(text: str) -> list[str]:
    """Codes of the currencies that the text names, in its order, each once."""
    return list(dict.fromkeys(SYMBOLS.get(str(found), str(found)) for found in CURRENCY.findall(text)))


def priced(text: str) -> list[Priced]:
    """All lines with an amount. A total whose amount stands alone on the next line, as PDFs have it, is one line."""
    lines, found = text.splitlines(), []
    for place, line in enumerate(lines):
        before = lines[place - 1] if place else ""
        told = f"{before} {line}" if AMOUNT.fullmatch(line.strip()) and not AMOUNT.search(before) else line
        raw = tuple(m.group().strip() for m in AMOUNT.finditer(line))
        values = [value for each in raw if (value := amount(each)) is not None]
        if values:
            found.append(Priced(place, _role(told), raw, values[-1]))
    return found


def _role(line: str) -> Role:
    is_total, is_tax, included = TOTAL.search(line), TAX.search(line), INCLUDED.search(line)
    if ASIDE.search(line):
        return Role.ASIDE
    if is_tax and included and not (is_total and is_total.start() < included.start() < is_tax.start()):
        return Role.INCLUDED
    if SUB.search(line):
        return Role.SUB
    if is_total:
        return Role.TAX if is_tax and not included else Role.TOTAL
    if is_tax:
        return Role.TAX
    return Role.PAID if PAID.search(line) else Role.ITEM


def totals(text: str) -> list[str]:
    """Amounts that the paper calls its total, as written: those that its lines add up to first, then the last first."""
    raw = [(each, sums) for line, sums in reversed(_totals(priced(text))) for each in reversed(line.raw)]
    agree = [each for each, sums in raw if sums.say(amount(each)) == ADDS_UP]
    return list(dict.fromkeys([*agree, *(each for each, _ in raw)]))


def total_by_rule(text: str) -> Decimal | None:
    """The total that rules find; negative on a credit note, whatever sign it is written with."""
    found = totals(text)
    return signed(text, amount(found[0])) if found else None


def signed(text: str, total: Decimal | None) -> Decimal | None:
    """The total as the books need it: what a credit note gives back is negative."""
    return -abs(total) if total is not None and CREDIT.search(text) else total


def sums_up(text: str, total: Decimal | None) -> str:
    """Whether the lines above the total add up to it, with or without the tax; recomputed, whatever anybody says."""
    first = next((sums for _, sums in _totals(priced(text))), None)
    return "no total to check" if total is None or first is None else first.say(total)


def _totals(lines: Sequence[Priced]) -> list[tuple[Priced, Sums]]:
    """Each line with a total, and what the lines above it come to; added up once, however many totals there are."""
    found, items, net, tax = list[tuple[Priced, Sums]](), 0, Decimal(), Decimal()
    for line in lines:
        if line.role is Role.TOTAL:
            found.append((line, Sums(items, net, tax)))
        elif line.role is Role.ITEM:
            items, net = items + 1, net + line.value
        elif line.role is Role.TAX:
            tax += line.value
    return found
