"""Invoices, receipts and credit notes: what may be their vendor, number, date and total. Pure.

Amounts and sums are `blocks.checking.amounts`, dates `blocks.checking.dates`.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

from blocks.checking.amounts import ADDS_UP, AMOUNT, Priced, Role, amount, currencies, priced, sums_up, totals
from blocks.checking.dates import DATE, FoundDate, find_dates
from blocks.checking.forms import Field, Found, Part, bounded, field_of, with_words_before
from blocks.reading.items import Item

SHOWN_CHARACTERS, SHOWN_HEAD, LINE_CHARACTERS = 900, 4, 120
# What a total may be taken for.
SUMS = frozenset({Role.TOTAL, Role.SUB, Role.TAX, Role.PAID})
HEAD_LINES, VENDOR_LINES = 25, 6
# Before a number or a date, so far back: its label on its line, or on the line above.
LABEL_CHARACTERS, ABOVE_CHARACTERS = 120, 240
MOST_TOTALS_NAMED = 5

VENDOR_LABEL = re.compile(
    r"^(?:from|vendor|supplier|seller|issued by|von|lieferant|fournisseur|émetteur)\s*:\s*", re.IGNORECASE
)
COMPANY = re.compile(
    r"\b(?:Ltd|LTD|Limited|LLC|Inc|INC|GmbH|GMBH|AG|KG|e\.K|OHG|SARL|SAS|SA|S\.A|BV|B\.V|Oy|AB|Co)\b\.?(?!\w)"
)
NO_VENDOR = re.compile(
    r"^\W*(?:(?:tax |sales |proforma )?invoice\b|rechnung|facture|receipt|quittung|beleg|reçu"
    r"|credit (?:note|memo)|gutschrift"
    r"|avoir|statement|page|original|copy|kopie|duplicata|scanned|subject|betreff|date|datum|to\b"
    r"|bill(?:ed)? to|an\b|à\b"
    r"|customer|kunde|client|ship|sold|vat|ust|tel|phone|fax|www|https?|iban|due|order|begin|\[|\*+ |=+|-+|<)"
    r"|@|\b(?:ignore|assistant|system|instructions?|prompt)\b",
    re.IGNORECASE,
)
TO_LABEL = re.compile(r"^\W*(?:to|bill(?:ed)? to|sold to|customer|kunde|client|an|à)\s*:?\s*$", re.IGNORECASE)
ADDRESS = re.compile(
    r"\b(?:street|st\.|road|lane|quay|square|straße|str\.|weg|platz|rue|avenue|quai)\b|\b[0-9]{4,6} [A-Z]", re.I
)

NUMBER = re.compile(
    r"(?<![\w.,/-])(?=[A-Z0-9./_-]*[0-9])(?![0-9]+(?:st|nd|rd|th"
    r"|x)\b)[A-Z0-9][A-Z0-9/_-]{2,23}(?:\.[A-Z0-9]{2,12})*(?![\w/-]|[.,][0-9])",
    re.IGNORECASE,
)
NUMBER_LABEL = re.compile(
    r"(?:invoice|receipt|rechnung|quittung|facture|reçu|beleg|bon|ticket|credit (?:note|memo)|gutschrift"
    r"|avoir|bill|document)"
    r"(?:s?[-\s]?(?:number|nummer|numéro|receipt|no|nr|n°|id))?\b\.?\s*(?:number|nummer|numéro|no\.?|nr\.?"
    r"|n°|#|id)?\s*[:#.]?\s*$",
    re.IGNORECASE,
)
# Letters of a series that stand before the number: `Nr.: SB 26-317`.
SERIES = re.compile(r"(?<=[.:#] )([A-Z]{1,3})$")
OTHER_NUMBER = re.compile(
    r"(?:\bvat|\bust|\btax|\btva|siret|tel|phone|fax|iban|bic|customer|kunden|client|order|bestell|commande"
    r"|\bpo\b|account|konto"
    r"|terminal|table|tisch|reg\.?|postcode|card|karte|carte|ref(?:erence)?|refers to|for invoice"
    r"|zu rechnung)\W*[\w .#°:-]{0,16}$",
    re.IGNORECASE,
)
ANOTHERS = re.compile(
    r"\b(?:to|for|of|zu|sur|against|instead of|replaces|last|previous) (?:your |the |our )?(?:invoice"
    r"|rechnung|facture|bill)\W*(?:no\.?|nr\.?|n°)?\W*$",
    re.I,
)

DATE_LABEL = re.compile(
    r"(?:invoice date|date of issue|issued|issue date|rechnungsdatum|ausgestellt|dated?|datum|le|vom"
    r"|du)\W*(?:on|am|le|the)?\W*$",
    re.I,
)
OTHER_DATE = re.compile(
    r"due|payable|pay(?:ment)?\b|fällig|zahlbar|échéance|deliver|liefer|livraison|leistung|service|period"
    r"|zeitraum|période|from|until|\bbis\b"
    r"|since|scan|recogni|order|bestell|commande|valid|booked|abgebucht|debited|printed|return|travel|next"
    r"|to invoice|zu rechnung",
    re.IGNORECASE,
)


def paper(item: Item, own_names: Sequence[str] = ()) -> list[Part]:
    """The one row of a paper for the books."""
    text = bounded(item.text)
    fields = (vendor(text, own_names), number(text), dated(text), total(text))
    return [Part(item.id, text, shown(text), fields, tuple(notes(text)))]


def vendor(text: str, own_names: Sequence[str] = ()) -> Field:
    """A labelled name, else the first line that is a name of somebody else's."""
    lines = [line.strip() for line in text.splitlines() if line.strip()][:HEAD_LINES]
    ranked = []
    for place, line in enumerate(lines):
        name, labelled = VENDOR_LABEL.sub("", line, count=1).split("  ")[0].strip(" ,;*"), VENDOR_LABEL.search(line)
        after_to = place > 0 and TO_LABEL.search(lines[place - 1])
        if (
            after_to
            or not _is_name(name)
            or AMOUNT.search(line)
            or any(own.lower() in name.lower() for own in own_names)
        ) and not (labelled and len(name) > 2):
            continue
        if labelled or place < VENDOR_LINES or COMPANY.search(name):
            score = 100 if labelled else (50 if COMPANY.search(name) and place < VENDOR_LINES else 40) - place
            ranked.append(Found(score, name[:80]))
    return field_of("vendor", ranked or [Found(0, line[:80]) for line in lines[:1]])


def _is_name(line: str) -> bool:
    letters = sum(c.isalpha() for c in line)
    return (
        letters >= 3
        and letters >= len(line) / 2
        and len(line) <= 80
        and not NO_VENDOR.search(line)
        and not DATE.search(line)
        and not AMOUNT.search(line)
        and not (ADDRESS.search(line) and any(c.isdigit() for c in line))
    )


def number(text: str) -> Field:
    """What stands behind the word for it; numbers of orders, customers and taxes are not it."""
    found, lines = list[Found](), text.splitlines()
    for place, line in enumerate(lines):
        bare = _bare(line)
        for match in NUMBER.finditer(bare):
            before = bare[max(0, match.start() - LABEL_CHARACTERS) : match.start()].strip()
            series = SERIES.search(before)
            value = (
                f"{series[1]} {match.group()}" if series and f"{series[1]} {match.group()}" in bare else match.group()
            )
            score = _number_score(before.removesuffix(series[1]).strip() if series else before)
            if not before and place and NUMBER_LABEL.search(lines[place - 1].strip()):
                score = 2
            if score > 0 or (place < HEAD_LINES and not AMOUNT.search(line)):
                found.append(Found(score, value, with_words_before(line, line.find(value), value)))
    return field_of("number", _once_first(found))


def _number_score(before: str) -> int:
    if ANOTHERS.search(before):
        return 0
    if NUMBER_LABEL.search(before):
        return 3
    if OTHER_NUMBER.search(before):
        return 0  # a number of its own: worth a look, and wrong
    labelled = re.search(r"(?:\bno|\bnr|n°|#)\W*$", before, re.IGNORECASE)
    return 1 if labelled else -1


def _bare(line: str) -> str:
    """The line with blanks in place of its dates and amounts."""
    taken = [(found.start, found.start + len(found.raw)) for found in find_dates(line)]
    for begin, end in [*taken, *(match.span() for match in AMOUNT.finditer(line))]:
        line = line[:begin] + " " * (end - begin) + line[end:]
    return line


def _once_first(found: list[Found]) -> list[Found]:
    """Of several that are labelled alike the first is the paper's own: the rest get one point less."""
    best = max((each.score for each in found), default=0)
    first = next((each.value for each in found if each.score == best), "")
    return [
        each if each.value == first or each.score < best or best <= 0 else replace(each, score=each.score - 1)
        for each in found
    ]


def dated(text: str) -> Field:
    """The date of issue: one with its label, else the first that is not due, delivered, ordered or of a period."""
    found = []
    for each in find_dates(text):
        before = text[max(0, text.rfind("\n", 0, each.start)) : each.start].strip()
        above = text[max(0, each.start - ABOVE_CHARACTERS) : each.start].strip().splitlines()
        if not before and above:  # a date alone on its line: its label is the line before
            before = above[-1]
        score = 3 if DATE_LABEL.search(before) else 1
        said = with_words_before(text, each.start, each.raw)
        found.append(Found(0 if OTHER_DATE.search(before) else score, each.raw, said))
    return field_of("date", _once_first(found))


def total(text: str) -> Field:
    """What the paper calls its total; what its lines add up to before anything else."""
    named, lines, money = totals(text), text.splitlines(), priced(text)
    agree = [raw for raw in named[:2] if sums_up(text, amount(raw)) == ADDS_UP]
    found = [Found(9 if raw in agree else 8, raw, _line_of(lines, money, raw)) for raw in named[:2]]
    told, known = [line for line in money if line.role in SUMS] or money, frozenset(named)
    rest = [(raw, lines[line.place]) for line in reversed(told) for raw in line.raw if raw not in known]
    return field_of(
        "total", [*found, *(Found(0, raw, with_words_before(line, line.find(raw), raw)) for raw, line in rest)]
    )


def _line_of(lines: Sequence[str], money: Sequence[Priced], raw: str) -> str:
    """A total with the words before it, of the last line that names it one."""
    places = [line.place for line in money if line.role is Role.TOTAL and raw in line.raw]
    line = lines[places[-1]] if places else raw
    return with_words_before(line, line.find(raw), raw)


def notes(text: str) -> list[str]:
    """What somebody should know about the paper beside its values."""
    named = {abs(value) for raw in totals(text) if (value := amount(raw)) is not None}
    unclear = [found for found in find_dates(text) if found.ambiguous]
    money = currencies(text)
    return [
        *([f"several totals: {_listed(sorted(named))}"] if len(named) > 1 else []),
        *([f"several currencies: {', '.join(money)}"] if len(money) > 1 else []),
        *[f"{found.raw} may be {_other(found)} as well" for found in unclear[:1]],
    ]


def _listed(totals: Sequence[Decimal]) -> str:
    told = ", ".join(str(value) for value in totals[:MOST_TOTALS_NAMED])
    left = len(totals) - MOST_TOTALS_NAMED
    return f"{told} and {left} more" if left > 0 else told


def _other(found: FoundDate) -> date:
    return found.day.replace(month=found.day.day, day=found.day.month)


def shown(text: str) -> str:
    """What a model reads: the head, and of the rest what names a number, a date or a sum; no lines of goods."""
    lines = [line.strip() for line in text.splitlines()]
    sums = {line.place for line in priced(text) if line.role in SUMS}
    goods = {line.place for line in priced(text)} - sums
    kept = [
        " ".join(line.split())
        for place, line in enumerate(lines)
        if line and place not in goods and (place in sums or len(line) <= LINE_CHARACTERS)
        if place < SHOWN_HEAD or place in sums or find_dates(line) or NUMBER.search(line)
    ]
    return "\n".join(kept)[:SHOWN_CHARACTERS]
