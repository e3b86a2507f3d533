"""extract: values for the books from invoices, receipts, minutes and contracts. None that does not stand there."""

from collections.abc import Callable, Sequence
from enum import StrEnum

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from blocks.agent import CouldNot, agent
from blocks.checking.actions import actions
from blocks.checking.contracts import contract
from blocks.checking.filled import LeftOut, alarm_of, columns_of, filled_in, lines_of, long_ones, page, rows_json
from blocks.checking.forms import Part, rules_of, schema_of
from blocks.checking.papers import paper
from blocks.parameters import AgentParameters
from blocks.reading.documents import read_folder
from blocks.reading.items import Item
from blocks.reading.prompts import read_prompt
from blocks.untrusted import visible
from blocks.writing.csv_files import csv_text
from blocks.writing.rows_database import Of, grown
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest


class Form(StrEnum):
    """What is wanted of a document: vendor, number, date and total; who does what by when; a contract's dates."""

    INVOICE = "invoice"
    ACTIONS = "actions"
    DATES = "dates"


PARTS: dict[Form, Callable[[Item, Sequence[str]], list[Part]]] = {
    Form.INVOICE: paper,
    Form.ACTIONS: actions,
    Form.DATES: contract,
}
PROMPTS = {
    Form.INVOICE: "flows/prompts/extract.md",
    Form.ACTIONS: "flows/prompts/extract_actions.md",
    Form.DATES: "flows/prompts/extract_dates.md",
}


class ExtractParameters(AgentParameters):
    """A folder of documents (.txt, .md, .eml, .pdf) and the form to fill in from each."""

    form: Form = Field(
        default=Form.INVOICE, description="invoice (receipts too), actions of minutes, dates of contracts."
    )
    own_names: list[str] = Field(default=[], description="Our own names: never the vendor, never the other party.")
    max_asks: int = Field(
        default=60, ge=1, le=500, description="Choices that a model is asked about; rules fill in the rest."
    )
    prompt_file: str = Field(default="", description="The prompt; empty: that of the form.")


def asks(part: Part, form: Form) -> list[Part]:
    """What a model is asked about a part: all of it at once, of a contract one value at a time; nothing where clear."""
    return part.apart() if form is Form.DATES else [part] if part.is_open else []


@flow(name="extract", persist_result=False)
def extract(parameters: ExtractParameters) -> State:
    """Read -> find candidates (code) -> choose under a schema -> check value by value -> write page and rows."""
    with agent(parameters) as run:
        read = read_folder(parameters.source, max_items=parameters.max_items, max_bytes=parameters.max_bytes)
        items = sorted(run.take(read.items), key=lambda item: item.id)
        parts = [part for item in items for part in PARTS[parameters.form](item, parameters.own_names)]
        prompt = read_prompt(parameters.prompt_file or PROMPTS[parameters.form])
        asked = [(part, ask) for part in parts for ask in asks(part, parameters.form)][: run.items(parameters.max_asks)]
        answers = run.ask_all(
            [
                ModelRequest(
                    kind=Kind.EXTRACT,
                    prompt=prompt.safe_substitute(text=visible(part.shown), question=part.question),
                    json_schema=schema_of(part),
                    max_tokens=parameters.max_tokens,  # uncapped: an object that is cut is none
                    verifier=rules_of(part),
                )
                for _, part in asked
            ]
        )
        rows = filled_in(parts, [(part, ask, answer) for (part, ask), answer in zip(asked, answers, strict=True)])
        columns, lines = columns_of(rows), lines_of(rows)
        # A document says all that it says: what it said at an earlier run and says no longer is gone.
        of = Of(parameters.source, run.day, "document", frozenset(item.id for item in items))
        kept = grown(run.folder / "rows.sqlite", columns, lines, of=of)
        is_told = any(row.found for row in rows)  # else nothing is written over the earlier rows
        older = read.left_out + len(read.items) - len(items)
        left_out = LeftOut(older, long_ones(items), kept.anew if is_told else "")
        empty = sorted({item.id for item in items} - {row.document for row in rows})
        shown = page(rows, read.unread, empty, left_out)
        if not is_told:
            raise CouldNot("no value was found in any document", facts=shown)
        files = {
            "rows.csv": csv_text(columns, lines),
            "rows.json": rows_json(rows),
            "rows.sqlite": kept.database(),
        }
        run.write(f"Extract: {run.agent}", shown, files=files, alarm=alarm_of(rows))
    return run.state
