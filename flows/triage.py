"""triage: a label for every message, for whoever opens the inbox next. Never answers, moves or deletes."""

from collections import Counter

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from blocks.agent import CouldNot, agent
from blocks.parameters import AgentParameters
from blocks.reading.items import Item
from blocks.reading.mail import read_messages
from blocks.reading.prompts import read_prompt
from blocks.writing.markdown import byline, table
from governor.answers import Answer
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest


class TriageParameters(AgentParameters):
    """Messages to label: label -> words that name it."""

    labels: dict[str, str] = Field(min_length=2, description="Label -> short phrase the model chooses among.")
    prompt_file: str = "flows/prompts/triage.md"


@flow(name="triage", persist_result=False)
def triage(parameters: TriageParameters) -> State:
    """Read -> ask for a label among the given ones -> check -> write the table."""
    with agent(parameters) as run:
        items = read_messages(parameters.source, max_items=run.items(parameters.max_items))
        prompt = read_prompt(parameters.prompt_file)
        answers = run.ask_all(
            [
                ModelRequest(
                    kind=Kind.CLASSIFY,
                    prompt=prompt.safe_substitute(title=item.title, text=item.text[:160]),
                    choices=tuple(parameters.labels.values()),
                    max_tokens=24,
                )
                for item in items
            ]
        )
        if not any(answer.verified for answer in answers):
            raise CouldNot("no message got a label", facts="\n".join(f"- {item.title}" for item in items))
        run.write(f"Triage: {run.agent}", page(items, answers, parameters.labels))
    return run.state


def page(items: list[Item], answers: list[Answer], labels: dict[str, str]) -> str:
    """One row a message, none lost and none invented, and how many there are of each label."""
    by_phrase = {phrase: label for label, phrase in labels.items()}
    named = [by_phrase[a.data] if a.verified else "unlabelled" for a in answers]
    rows: list[list[object]] = [
        [item.id, item.title, label, byline(answer) if answer.verified else "no label passed the check"]
        for item, label, answer in zip(items, named, answers, strict=True)
    ]
    counts = ", ".join(f"{count} {label}" for label, count in Counter(named).most_common())
    return f"{len(items)} messages: {counts}.\n\n" + table(["id", "subject", "label", "by"], rows)
