"""Labelled items of three kinds of work, with the requests that the flows make of them and what the flows' rules say.

Labels stand in `labels/`: of triage one for each message, of extract one for each value of a document, of log_watch
one for each record. Those of triage and log_watch were made with the samples, by reading them. Those of extract were
filled in from what the rules write and then corrected by reading each document, not made independently: an error of the
rules that the reader overlooked is an error of the label too, which flatters the rules.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocks.checking.causes import by_words, choice_of, rule_for
from blocks.checking.clusters import message_of
from blocks.checking.filled import cells
from blocks.checking.forms import Part, rules_of, schema_of
from blocks.reading.documents import read_documents
from blocks.reading.logs import records
from blocks.reading.messages import read_messages
from blocks.reading.prompts import read_prompt
from blocks.untrusted import SPECIAL_TOKENS, as_data
from deployments.fleet import Entry, read_fleet
from flows import extract, log_watch, triage
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

LABELS = Path(__file__).with_name("labels")
# A description of what is done counts as right when so much of its words are those of the label.
WORDS_ALIKE = 0.8


@dataclass(frozen=True)
class Labelled:
    """Something with a known answer, a model's call or none.

    Attributes:
        truth: value -> what is right, any of them. An item counts as often as it has values.
        by_rules: what the flow writes without a model. read: what it writes of a verified answer.
        request: None where the flow has nothing to ask.
    """

    agent: str
    item: str
    truth: dict[str, tuple[str, ...]]
    by_rules: dict[str, str]
    request: ModelRequest | None
    read: Callable[[Any], dict[str, str]]

    def right(self, values: dict[str, str]) -> int:
        """How many of the values are right."""
        return sum(_alike(name, values.get(name, ""), told) for name, told in self.truth.items())


def _alike(name: str, value: str, told: tuple[str, ...]) -> bool:
    if name != "what":
        return value in told
    words = set(value.lower().split())
    return any(len(words & set(t.lower().split())) >= WORDS_ALIKE * len(words | set(t.lower().split())) for t in told)


def labelled(work: str) -> list[Labelled]:
    """All items of one kind of work: triage, extract or log_watch."""
    return list({"triage": _triage, "extract": _extract, "log_watch": _log_watch}[work]())


def rows_of(work: str) -> list[dict[str, str]]:
    """The labels of one kind of work, as they are written."""
    with (LABELS / f"{work}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _entries(kind: str) -> dict[str, Entry]:
    return {f"{kind}/{entry.name}": entry for entry in read_fleet() if Path(entry.flow_file).stem == kind}


def _triage() -> Iterator[Labelled]:
    truth: dict[tuple[str, str], tuple[str, ...]] = {}
    for row in rows_of("triage"):
        key = (row["agent"], row["id"])
        truth[key] = (*truth.get(key, ()), row["label"])
    for agent, entry in _entries("triage").items():
        told = triage.TriageParameters.model_validate(entry.parameters["parameters"])
        prompt = read_prompt(told.prompt_file)
        phrases = {phrase: label for label, phrase in told.labels.items()}
        for message in read_messages(told.source, columns=told.columns, own=told.own).items:
            if right := truth.get((agent, message.id)):
                yield Labelled(
                    agent,
                    message.id,
                    {"label": right},
                    {"label": triage.by_rule(message, told) or triage.UNLABELLED},
                    triage.request(message, prompt, told),
                    lambda data, phrases=phrases: {"label": phrases.get(data, "")},
                )


def _extract() -> Iterator[Labelled]:
    truth: dict[tuple[str, str, str], dict[str, tuple[str, ...]]] = {}
    for row in rows_of("extract"):
        key = (row["agent"], row["document"], row["row"])
        truth.setdefault(key, {})[row["field"]] = tuple(row["value"].split("|"))
    for agent, entry in _entries("extract").items():
        told = extract.ExtractParameters.model_validate(entry.parameters["parameters"])
        for document in read_documents(told.source, max_items=1000):
            for place, part in enumerate(extract.PARTS[told.form](document, told.own_names), start=1):
                yield from _of_part(agent, part, truth.pop((agent, document.id, str(place)), {}), told)
    for (agent, document, place), values in truth.items():  # rows that no rule found
        if agent in _entries("extract"):
            yield Labelled(agent, f"{document}#{place}", values, {}, None, dict)


def _of_part(agent: str, part: Part, truth: dict[str, Any], told: Any) -> Iterator[Labelled]:
    """One for each question that the flow asks about a part, and one for what is clear without."""
    prompt = read_prompt(told.prompt_file or extract.PROMPTS[told.form])
    rules, asked = cells(part, part.by_rules), set[str]()
    for ask in extract.asks(part, told.form):
        names = {field.name for field in ask.fields if field.is_open}
        asked |= names
        request = ModelRequest(
            kind=Kind.EXTRACT,
            prompt=prompt.safe_substitute(text=SPECIAL_TOKENS.sub(" ", ask.shown), question=ask.question),
            json_schema=schema_of(ask),
            max_tokens=told.max_tokens,
            verifier=rules_of(ask),
        )
        mine = {name: right for name, right in truth.items() if name in names}
        read = lambda data, ask=ask: cells(part, part.by_rules | ask.chosen(data))  # noqa: E731
        yield Labelled(agent, part.document, mine, rules, request, read)
    if rest := {name: right for name, right in truth.items() if name not in asked}:
        yield Labelled(agent, part.document, rest, rules, None, dict)


def _log_watch() -> Iterator[Labelled]:
    prompt = read_prompt("flows/prompts/log_watch.md")
    for row in rows_of("log_watch"):
        [record] = records(row["record"].split("\n"))
        line = as_data(message_of(record), log_watch.LINE_CHARACTERS)
        request = ModelRequest(
            kind=Kind.EXTRACT,
            prompt=prompt.safe_substitute(text=line),
            json_schema=choice_of(line),
            max_tokens=96,
            verifier=rule_for(line),
        )
        by_rules = {"cause": by_words(line), "level": record.level}
        truth = {"cause": (row["cause"],)}
        yield Labelled(row["agent"], row["event"], truth, by_rules, request, lambda data: {"cause": data["kind"]})
