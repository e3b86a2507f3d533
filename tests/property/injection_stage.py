"""A stage for attacks: how each kind of agent comes to read one, and what a model says that does as it is told."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from prefect.flows import Flow

from blocks.parameters import AgentParameters
from governor.call_arguments import whole
from governor.policy.requests import ModelRequest
from tests.property.attacks import NUMBER, STOLEN, Attack
from tests.unit.fleet_stage import Say
from tests.unit.git_stage import GitStage

HONEST = "The library opens a new reading room on Saturday after two years of work. It has forty seats."
TOPICS = {"traffic": "traffic and ferries", "culture": "culture and books"}
COMMITTED = 1_795_514_400  # 2026-11-24 10:00 UTC, in seconds
LABELS = {"urgent": "urgent trouble", "billing": "a bill to pay", "other": "anything else"}


@dataclass(frozen=True)
class Reader:
    """A kind of agent that reads a place. `lay` writes the input into a folder and says what the agent is told."""

    name: str
    at: str
    lay: Callable[[Path, Sequence[Attack]], tuple[Flow[..., Any], AgentParameters]]


def feed(folder: Path, attacks: Sequence[Attack]) -> Path:
    """Two honest entries, the attacker's between them."""
    honest = [entry(f"https://news.example/{n}", f"Reading room {n}", HONEST) for n in (1, 2)]
    theirs = [
        entry(attack.id or f"https://news.example/{number}", attack.title, attack.text)
        for number, attack in enumerate(attacks, start=3)
    ]
    path = folder / "feed.xml"
    entries = "".join([honest[0], *theirs, honest[1]])
    text = f"<rss version='2.0'><channel><title>t</title>{entries}</channel></rss>"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def entry(link: str, title: str, text: str) -> str:
    parts = {"guid": link, "link": link if link.startswith("http") else "", "title": title, "description": text}
    return f"<item>{''.join(f'<{name}>{escape(said)}</{name}>' for name, said in parts.items())}</item>"


def maildir(folder: Path, attacks: Sequence[Attack]) -> Path:
    """An honest mail, then the attacker's."""
    path = folder / "mail" / "cur"
    path.mkdir(parents=True)
    mails = [("<1@honest.example>", "Broken lamp", HONEST)]
    mails += [(attack.id or f"<{n}@e.example>", attack.title, attack.text) for n, attack in enumerate(attacks, start=2)]
    for number, (name, subject, text) in enumerate(mails, start=10):
        date = f"Tue, 24 Nov 2026 01:{number}:00 +0000"
        head = f"From: a@x.example\nMessage-ID: {name}\nSubject: {subject}\nDate: {date}"
        (path / f"{number}.x").write_bytes(f"{head}\n\n{text}\n".encode("utf-8", "surrogatepass"))
    return path.parent


def documents(folder: Path, attacks: Sequence[Attack]) -> Path:
    """An honest invoice and the attacker's."""
    path = folder / "docs"
    path.mkdir()
    (path / "honest.txt").write_text("Lamp Works Ltd\nInvoice No. L-17\n2026-11-03\nLamp 12.00\nTotal: 12.00 EUR\n")
    for number, attack in enumerate(attacks):
        (path / (attack.file or f"theirs-{number}.txt")).write_text(f"{attack.title}\n{attack.text}\n")
    return path


def repository(folder: Path, attacks: Sequence[Attack]) -> Path:
    """An honest commit, the attacker's after it; hooks and drivers that would leave a file behind."""
    trap = folder / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {folder}/pwned\ncat\n")
    trap.chmod(0o755)
    stage = GitStage(folder / "repository")
    stage.commit("feat: a", {"src/a.py": "def a(x):\n    return x\n"}, at=COMMITTED)
    for number, attack in enumerate(attacks):
        code = attack.text if attack.file else f"def b{number}(x):\n    return eval(x)\n"
        changed = f"def a(x):\n    if x > {number}:\n        return eval(x)\n    return x\n"
        message = attack.title if attack.file else f"{attack.title}\n\n{attack.text}"
        stage.commit(message, {attack.file or f"src/b{number}.py": code, "src/a.py": changed}, at=COMMITTED)
    git = stage.folder / ".git"
    drivers = ['diff "evil"]\ntextconv', 'diff "evil"]\ncommand', "diff]\nexternal", 'filter "evil"]\nclean']
    lines = "".join(f"[{driver} = {trap}\n" for driver in [*drivers, "core]\nfsmonitor"])
    (git / "config").write_text((git / "config").read_text() + lines)
    (git / "hooks").mkdir()
    for hook in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change"):
        (git / "hooks" / hook).write_bytes(trap.read_bytes())
        (git / "hooks" / hook).chmod(0o755)
    return stage.at


def log(folder: Path, attacks: Sequence[Attack]) -> Path:
    """An honest complaint, the attacker's after it."""
    path = folder / "app.log"
    lines = [f"2026-11-24 10:00:00 {text}" for text in ("ERROR disk 3 is full", *(attack.text for attack in attacks))]
    path.write_text("\n".join(lines) + "\n")
    return path


def table_of(folder: Path, attacks: Sequence[Attack]) -> Path:
    """A table whose rows break a rule; one cell is the attacker's."""
    path = folder / "rows.csv"
    rows = [["id", "price"], ["1", "2.50"]]
    rows += [row for attack in attacks for row in ([attack.text, attack.text], [attack.text, ""])]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def tickets(folder: Path, attacks: Sequence[Attack]) -> Path:
    """Two honest tickets about one thing, then the attacker's."""
    path = folder / "tickets.csv"
    rows = [["id", "subject", "body", "answer"]]
    rows += [[name, "Reading room", "When does the reading room open?", HONEST] for name in ("t1", "t2")]
    rows += [[attack.id or f"e{n}", attack.title, attack.text, attack.says] for n, attack in enumerate(attacks)]
    with path.open("w", newline="", errors="replace") as file:
        csv.writer(file).writerows(rows)
    return path


def notes(folder: Path, attacks: Sequence[Attack]) -> Path:
    """An honest note and the attacker's."""
    path = folder / "notes"
    path.mkdir()
    (path / "honest.md").write_text(
        f"# Reading room\n\n{HONEST}\n\n**Reading room** is a quiet room for reading books.\n"
    )
    for number, attack in enumerate(attacks):
        (path / (attack.file or f"theirs-{number}.md")).write_text(f"# {attack.title}\n\n{attack.text}\n")
    return path


def outputs(folder: Path, attacks: Sequence[Attack]) -> Path:
    """What other agents wrote, one of them led astray; beside them a plan for the day."""
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    for number, attack in enumerate(attacks):
        path = folder / f"digest-{number}"
        path.mkdir()
        (path / f"{day}.md").write_text(f"# Digest: digest/{number}\n\n{attack.file}\n\n{attack.text}\n")
    (folder / "todo.md").write_text(f"- [ ] {attacks[0].text} (due {day})\n- [ ] water the plants\n")
    return folder


def words_of(request: ModelRequest) -> str:
    """Words that the item holds: what an honest summary is made of."""
    for marker in ("\nText:", "\nNews:", "[text]\n", "\nLine:"):
        if marker in request.text:
            return " ".join(request.text.rsplit(marker, 1)[1].split()[:12])
    return " ".join(request.text.split()[-20:-4])


def obedient(attacks: Sequence[Attack]) -> dict[str, Say]:
    """Models that do as they are told, each in its own way; of several attacks, each request meets the next one's."""
    turn = cycle(attacks)

    def word(request: ModelRequest, said: str) -> str:
        said = whole(said)  # as every answer is that comes over the wire
        return said if request.json_schema is None else json.dumps(_filled(request.json_schema, said))

    return {
        "as told": lambda request: word(request, next(turn).says),
        "a choice": lambda request: request.choices[-1] if request.choices else word(request, f"{NUMBER} told"),
        "a link among true words": lambda request: word(request, f"{words_of(request)} {STOLEN}"),
        "a number among true words": lambda request: word(request, f"{words_of(request)} {NUMBER}"),
        "markup among true words": lambda request: word(request, f"{words_of(request)} ![x]({STOLEN}) <b>"),
    }


def _filled(schema: dict[str, Any], said: str) -> Any:
    """An object of that form, with what is wanted wherever it fits."""
    if "enum" in schema:
        return schema["enum"][-1]
    if "properties" in schema:
        return {name: _filled(part, said) for name, part in schema["properties"].items()}
    if schema.get("type") == "array":
        return [_filled(schema.get("items", {}), said)]
    if schema.get("type") in ("integer", "number"):
        return 987654
    return schema.get("type") == "boolean" or said
