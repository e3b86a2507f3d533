"""extract: vendor, number, date and total of each document, for the books. No value that is not in the text."""

import json
import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from prefect import flow
from prefect.client.schemas.objects import State

from blocks.agent import CouldNot, agent
from blocks.parameters import AgentParameters
from blocks.reading.documents import read_documents
from blocks.reading.items import Item
from blocks.reading.prompts import read_prompt
from blocks.untrusted import SPECIAL_TOKENS
from blocks.writing.markdown import byline, table
from governor.answers import Answer
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest, Verifier

FIELDS = ("vendor", "number", "date", "total")
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string", "minLength": 1, "maxLength": 48} for name in FIELDS},
    "required": list(FIELDS),
    "additionalProperties": False,
}
AMOUNT = re.compile(r"(?<![\d.,/-])-?\d{1,3}(?:[.,' ]\d{3})*[.,]\d{2}(?![\d.,/-])")
TOTAL_WORDS = re.compile(r"total|summe|betrag|amount due", re.IGNORECASE)
SUB_WORDS = re.compile(r"sub|net|zwischen", re.IGNORECASE)
DATES = ("%Y-%m-%d", "%d.%m.%Y", "%d %B %Y", "%d/%m/%Y", "%B %d, %Y", "%d %b %Y")
DOCUMENT_CHARACTERS = 900


class ExtractParameters(AgentParameters):
    """A folder of documents to take vendor, number, date and total from."""

    prompt_file: str = "flows/prompts/extract.md"


@flow(name="extract", persist_result=False)
def extract(parameters: ExtractParameters) -> State:
    """Read -> ask under a schema -> check value by value against the text -> write the table."""
    with agent(parameters) as run:
        items = read_documents(parameters.source, max_items=run.items(parameters.max_items))
        prompt = read_prompt(parameters.prompt_file)
        answers = run.ask_all(
            [
                ModelRequest(
                    kind=Kind.EXTRACT,
                    prompt=prompt.safe_substitute(text=SPECIAL_TOKENS.sub(" ", item.text)[:DOCUMENT_CHARACTERS]),
                    json_schema=SCHEMA,
                    max_tokens=parameters.max_tokens,
                    verifier=true_to(item.text),
                )
                for item in items
            ]
        )
        rows = [row(item, answer) for item, answer in zip(items, answers, strict=True)]
        if not any(cells[4] for cells in rows):
            raise CouldNot("no total was found in any document", facts="\n".join(f"- {i.id}" for i in items))
        run.write(f"Extract: {run.agent}", page(rows))
    return run.state


def true_to(text: str) -> Verifier:
    """Every value is a substring of the text, the date parses, the total is the text's own total."""

    def check(said: str) -> list[str]:
        values = json.loads(said)
        problems = [f"{name} {values[name]!r} is not in the text" for name in FIELDS if values[name] not in text]
        if parsed_date(values["date"]) is None:
            problems.append(f"{values['date']!r} is no date")
        if amount(values["total"]) != total_by_rule(text):
            problems.append(f"{values['total']!r} is not the total")
        return problems

    return check


def row(item: Item, answer: Answer) -> list[object]:
    """One row; when the model's values did not pass, those that rules can find."""
    values = answer.data if answer.verified else by_rules(item.text)
    total = amount(values["total"])
    return [
        item.id,
        values["vendor"],
        values["number"],
        parsed_date(values["date"]) or values["date"],
        "" if total is None else total,
        sums_up(item.text, total),
        byline(answer),
    ]


def by_rules(text: str) -> dict[str, str]:
    """Vendor: the first line. Number and date: the first that look like one. Total: of the total's line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    number = re.search(r"(?:invoice|receipt|rechnung|no|nr|number)[^\n\d]{0,20}?([A-Z]{0,3}-?\d[\w/-]*)", text, re.I)
    candidates = re.findall(r"\d{4}-\d\d-\d\d|\d\d?\.\d\d?\.\d{4}|\d\d? [A-Z][a-z]+ \d{4}|\d\d?/\d\d?/\d{4}", text)
    total = total_by_rule(text)
    return {
        "vendor": lines[0] if lines else "",
        "number": number[1] if number else "",
        "date": next((c for c in candidates if parsed_date(c)), ""),
        "total": "" if total is None else str(total),
    }


def amount(text: str) -> Decimal | None:
    """An amount in either notation: 1,237.75 and 1.237,75 are the same."""
    digits = re.sub(r"[^\d.,-]", "", text)
    head, cents = digits[:-3], digits[-3:]
    if not re.fullmatch(r"[.,]\d\d", cents):
        head, cents = digits, ""
    try:
        return Decimal(re.sub(r"[.,]", "", head) + cents.replace(",", "."))
    except InvalidOperation:
        return None


def total_by_rule(text: str) -> Decimal | None:
    """The last amount on the last line that speaks of a total and of no subtotal."""
    for line in reversed(text.splitlines()):
        if TOTAL_WORDS.search(line) and not SUB_WORDS.search(line) and (found := AMOUNT.findall(line)):
            return amount(found[-1])
    return None


def sums_up(text: str, total: Decimal | None) -> str:
    """Whether the lines above the total add up to it; recomputed here, whatever anybody says."""
    lines = text.splitlines()
    end = next((n for n, line in enumerate(lines) if TOTAL_WORDS.search(line) and AMOUNT.search(line)), None)
    parts = [amount(found[-1]) for line in lines[:end] if (found := AMOUNT.findall(line))]
    if total is None or end is None or not parts:
        return "no total to check"
    found = sum((part for part in parts if part is not None), Decimal())
    return "adds up" if found == total else f"LINES SAY {found}"


def parsed_date(text: str) -> date | None:
    """A date in one of the usual notations."""
    for notation in DATES:
        try:
            return datetime.strptime(text.strip(), notation).date()
        except ValueError:
            continue
    return None


def page(rows: list[list[object]]) -> str:
    """All documents, and how many do not add up."""
    wrong = sum(str(cells[5]).startswith("LINES") for cells in rows)
    head = f"{len(rows)} documents, {wrong} whose lines do not add up to the total.\n\n"
    return head + table(["document", "vendor", "number", "date", "total", "sum", "by"], rows)
