"""triage: a label for every message, for whoever opens the inbox next. Never answers, moves or deletes."""

from collections import Counter
from string import Template
from typing import Self

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field, model_validator

from blocks.agent import CouldNot, agent
from blocks.checking.labels import by_words
from blocks.parameters import AgentParameters
from blocks.reading.found import Message
from blocks.reading.messages import read_messages
from blocks.reading.prompts import read_prompt
from blocks.untrusted import fence
from blocks.writing.csv_files import csv_text
from blocks.writing.markdown import BY_RULES, byline, escaped, table
from blocks.writing.rows_database import Of, grown
from governor.answers import Answer
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

UNLABELLED = "unlabelled"
COLUMNS = ["id", "label", "label_by", "waits", "sender", "title", "written_at", "thread"]
# What a message is about stands in its first lines; the rest costs time on a small machine.
TEXT_CHARACTERS = 240


class TriageParameters(AgentParameters):
    """Messages to label, the labels, and under which of them somebody waits for an answer."""

    labels: dict[str, str] = Field(
        min_length=2, max_length=12, description="Label -> short phrase the model chooses among."
    )
    keywords: dict[str, str] = Field(
        default_factory=dict, description="Label -> further words that name it, for the rule that guesses first."
    )
    waiting: list[str] = Field(default_factory=list, description="Labels under which somebody waits for an answer.")
    own: list[str] = Field(default_factory=list, description="Our mail addresses: what they wrote is an answer.")
    columns: dict[str, str] = Field(
        default_factory=dict, description="Of a CSV file: id, text, title, sender, at -> the column's name."
    )
    prompt_file: str = Field(default="flows/prompts/triage.md", description="Asks for the label of a message.")

    @model_validator(mode="after")
    def _labels_agree(self) -> Self:
        unknown = {*self.keywords, *self.waiting} - set(self.labels)
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: not among the labels")
        if len(set(self.labels.values())) < len(self.labels):
            raise ValueError("two labels have the same phrase, so nobody could tell which one was chosen")
        return self


@flow(name="triage", persist_result=False)
def triage(parameters: TriageParameters) -> State:
    """Read -> ask for a label among the given ones -> check -> write the table."""
    with agent(parameters) as run:
        found = read_messages(
            parameters.source, columns=parameters.columns, own=parameters.own, max_bytes=parameters.max_bytes
        )
        messages = run.take(found.items)
        prompt = read_prompt(parameters.prompt_file)
        answers = run.ask_all([request(message, prompt, parameters) for message in messages])
        rows = [row(message, answer, parameters) for message, answer in zip(messages, answers, strict=True)]
        if all(label == UNLABELLED for _, label, *_ in rows):
            raise CouldNot("no message got a label", facts="\n".join(f"- {escaped(m.title)}" for m in messages))
        of = Of(source=parameters.source, day=run.day)
        kept = grown(run.folder / "rows.sqlite", COLUMNS, reversed(rows), of=of)
        left = len(found.items) - len(messages)
        notes = [f"{left} older messages are left out (`max_items`)."] if left else []
        notes += [f"Not read: {escaped('; '.join(found.problems[:20]))}."] if found.problems else []
        notes += [f"The earlier rows were begun anew: {escaped(kept.anew)}."] if kept.anew else []
        run.write(
            f"Triage: {run.agent}",
            "\n\n".join([page(rows), f"rows.sqlite holds {len(kept.rows)} messages.", *notes]),
            files={"rows.sqlite": kept.database(), "rows.csv": csv_text(COLUMNS, reversed(kept.rows))},
        )
    return run.state


def request(message: Message, prompt: Template, parameters: TriageParameters) -> ModelRequest:
    """Which label fits. The prompt names them, since a grammar tells a model nothing, and the rule's guess if any."""
    labels, guess = parameters.labels, by_rule(message, parameters)
    told = prompt.safe_substitute(
        labels="\n".join(f"- {phrase}" for phrase in labels.values()),
        message=fence(f"{message.title}. {message.text[:TEXT_CHARACTERS]}"),
        guess=f"First guess: {labels[guess]}" if guess else "",
    )
    return ModelRequest(kind=Kind.CLASSIFY, prompt=told, choices=tuple(labels.values()), max_tokens=24)


def by_rule(message: Message, parameters: TriageParameters) -> str | None:
    """The label by words alone, None where they do not tell."""
    words = {label: f"{said} {parameters.keywords.get(label, '')}" for label, said in parameters.labels.items()}
    return by_words(f"{message.title} {message.text}", words)


def row(message: Message, answer: Answer, parameters: TriageParameters) -> list[str]:
    """A message by `COLUMNS`; where no model's label stands, the rule speaks, or says that it does not know."""
    by_phrase = {phrase: label for label, phrase in parameters.labels.items()}
    by_model = answer.verified and answer.data in by_phrase
    label = by_phrase[answer.data] if by_model else by_rule(message, parameters)
    return [
        message.id,
        label or UNLABELLED,
        byline(answer) if by_model else BY_RULES,
        "yes" if label in parameters.waiting and not message.answered else "",
        message.sender,
        message.title,
        message.at.isoformat() if message.at else "",
        message.thread,
    ]


def page(rows: list[list[str]]) -> str:
    """One row a message, none lost and none invented; how many of each label, and who waits for an answer."""
    counts = ", ".join(f"{count} {label}" for label, count in Counter(r[1] for r in rows).most_common())
    waiting = [waiting_line(told) for told in rows if told[3]]
    shown: list[list[object]] = [[escaped(r[0]), r[6][:10], escaped(r[4]), escaped(r[5]), r[1], r[2]] for r in rows]
    parts = [f"{len(rows)} messages: {counts}."]
    parts += ["## Waiting for an answer\n\n" + "\n".join(waiting)] if waiting else []
    parts += ["## Messages\n\n" + table(["id", "date", "from", "subject", "label", "by"], shown)]
    return "\n\n".join(parts)


def waiting_line(told: list[str]) -> str:
    """Who waits, since when, for what."""
    _, _, _, _, sender, title, at, _ = told
    return f"- {escaped(sender) or 'somebody'}, since {at[:16] or 'an unknown day'}: {escaped(title)}"
