"""Tickets of a help desk (CSV: id, subject, body, and answer where there is one)."""

from blocks.reading.rows import last_rows, require
from blocks.untrusted import as_data
from governor.policy.facts import Fact

MOST_TICKETS = 2000
MOST_CHARACTERS = 1500


class Ticket(Fact):
    """One ticket, its words as plain paragraphs."""

    id: str
    subject: str
    body: str
    answer: str = ""


class Tickets(Fact):
    """All of them. `problems`: what is not among them, and why."""

    tickets: tuple[Ticket, ...]
    problems: tuple[str, ...] = ()


def read_tickets(source: str, *, max_bytes: int) -> Tickets:
    """The newest tickets, those at the end of the file.

    Raises:
        BadInput: it is no such file.
    """
    part = last_rows(source, max_bytes=max_bytes)
    require(part.rows, ("id", "body"), source)
    rows = part.rows[-MOST_TICKETS:]
    found, problems = dict[str, Ticket](), list[str]()
    if part.is_cut or len(rows) < len(part.rows):
        problems.append(f"older tickets than the last {len(rows)}")
    for number, row in enumerate(rows, start=1):
        name = as_data(row["id"], 40)
        if not name or name in found:
            problems.append(f"row {number}: " + (f"the id {name} is there twice" if name else "no id"))
            continue
        parts = (as_data(row.get(column, ""), MOST_CHARACTERS) for column in ("subject", "body", "answer"))
        subject, body, answer = parts
        if body or subject:
            found[name] = Ticket(id=name, subject=subject, body=body, answer=answer)
    return Tickets(tickets=tuple(found.values()), problems=tuple(problems))
