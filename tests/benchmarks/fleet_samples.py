"""The fleet's own samples as questions with a known answer: what its agents ask, item by item, and what is right.

The requests are those of the flows: each flow is called as it is, up to its first question. The truth stands in
`fleet_labels.yaml`; every item of a sample that stands there is a question, whatever `max_items` says.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from blocks.checking.amounts import amount
from blocks.checking.dates import parsed_date
from blocks.checking.filled import cells
from blocks.checking.forms import Part
from blocks.checking.papers import paper
from blocks.reading.documents import read_documents
from blocks.reading.feeds import read_feed
from blocks.reading.messages import read_messages
from deployments.fleet import Entry, read_fleet
from governor.call_arguments import BY_WORDS
from governor.policy.requests import ModelRequest

LABELS = Path(__file__).with_name("fleet_labels.yaml")
READERS: dict[str, Callable[[dict[str, Any]], list[Any]]] = {
    "triage": lambda told: list(
        read_messages(told["source"], columns=told.get("columns"), own=told.get("own", ())).items
    ),
    "extract": lambda told: read_documents(told["source"], max_items=ALL_ITEMS),
    "digest": lambda told: list(read_feed(told["source"]).items),
}
# Of each flow's parameters, the one that names what may be chosen.
CHOICES = {"triage": "labels", "digest": "topics"}
NOTHING_FITS = "none"
ALL_ITEMS = 200
# Of a document, these have to be right together: half a row in the books is no row.
FIELDS = ("vendor", "number", "date", "total")


@dataclass(frozen=True)
class Question:
    """What an agent asks about one item, and what is right: any of `right`, or each field any of its own.

    `by_rules`: what the flow falls back to when no answer stands, None when it has no rule. `part`: of a document,
    what the answer's choices stand for.
    """

    agent: str
    item: str
    request: ModelRequest
    right: Any
    by_rules: Any = None
    part: Part | None = None

    def is_right(self, data: Any) -> bool:
        """Whether this is the truth; an answer that could not be read is not."""
        if data is None:
            return False
        return data in self.right if self.request.choices else self.right_fields(data) == len(FIELDS)

    def right_fields(self, data: Any) -> int:
        """How many fields of a document are right; of choices, the values that they stand for."""
        filled = data
        if self.part is not None and set(data) <= {field.name for field in self.part.fields if field.is_open}:
            filled = self.part.by_rules | self.part.chosen(data)
        told = _values(self.part, filled)
        return sum(told[name].strip() in self.right[name] for name in FIELDS)


def _values(part: Part | None, values: dict[str, str]) -> dict[str, str]:
    """Values in the notation of the truth."""
    if part is not None:
        return cells(part, values)
    return {**values, "date": str(parsed_date(values["date"])), "total": str(amount(values["total"]))}


def told(question: Question) -> Question:
    """The same with the labels in the words of the prompt, and not in the grammar alone."""
    request = question.request
    if request.choices is None:
        return question
    listed = "\n".join(f"- {choice}" for choice in request.choices)
    return replace(question, request=request.model_copy(update={"prompt": f"{request.prompt}\n\n{BY_WORDS}{listed}"}))


class Captured(Exception):
    """A flow's first questions, in the order of its items."""

    def __init__(self, requests: Sequence[ModelRequest]) -> None:
        super().__init__("asked")
        self.requests = requests


class FakeRun:
    """FAKE: the frame of a run, which keeps what it is asked and answers nothing."""

    def items(self, wanted: int) -> int:
        return wanted

    def tokens(self, wanted: int) -> int:
        return wanted

    def take(self, items: Sequence[Any]) -> list[Any]:
        return list(items)

    def saw(self, name: str, digest: str, *, text: str = "") -> None: ...

    def ask_all(self, requests: Sequence[ModelRequest]) -> None:
        raise Captured(requests)


@lru_cache(maxsize=1)
def labels() -> dict[str, dict[str, Any]]:
    """By agent, as it is written."""
    return yaml.safe_load(LABELS.read_text())


def questions() -> list[Question]:
    """Every item of every sample that has a truth."""
    return [question for agent in labels() for question in of_agent(agent)]


def of_agent(agent: str) -> Iterator[Question]:
    """Those of one agent; items where nothing fits are left out."""
    entry = entries()[agent]
    known = items(agent)
    parts = {item.id: paper(item, _parameters(entry).get("own_names", ()))[0] for item in known if _fills_in(agent)}
    asked = [item for item in known if not parts or parts[item.id].is_open]
    for item, request in zip(asked, _asked(entry), strict=True):
        if right := truth(agent, item.id):
            part = parts.get(item.id)
            yield Question(agent, item.id, request, right, part and part.by_rules, part)


def _fills_in(agent: str) -> bool:
    return agent.startswith("extract/")


def items(agent: str) -> list[Any]:
    """What its source holds, all of it."""
    return READERS[agent.partition("/")[0]](_parameters(entries()[agent]))


@lru_cache(maxsize=1)
def entries() -> dict[str, Entry]:
    """The agents of the fleet that can be scored, by the names that records give them."""
    fleet = ((Path(entry.flow_file).stem, entry) for entry in read_fleet())
    return {f"{kind}/{entry.name}": entry for kind, entry in fleet if kind in READERS}


def phrases(agent: str) -> dict[str, str]:
    """Label -> what the model says for it; nothing for an agent that fills in fields."""
    return _parameters(entries()[agent]).get(CHOICES.get(agent.partition("/")[0], ""), {})


def truth(agent: str, item: str) -> Any:
    """The phrases that are right, or the field values; nothing when nothing fits or the item has no label."""
    written, phrase = labels()[agent], phrases(agent)
    if not phrase:
        row = written.get(item, {})
        return {name: value if isinstance(value, list) else [value] for name, value in row.items()}
    return frozenset(phrase[label] for label, ids in written.items() if label != NOTHING_FITS and item in ids)


def _parameters(entry: Entry) -> dict[str, Any]:
    return entry.parameters["parameters"]


def _asked(entry: Entry) -> Sequence[ModelRequest]:
    """What the flow asks first, about every item."""
    module = import_module(entry.flow_file.removesuffix(".py").replace("/", "."))
    flow = getattr(module, entry.function)
    (of_parameters,) = [hint for name, hint in flow.fn.__annotations__.items() if name == "parameters"]
    parameters = of_parameters.model_validate({**_parameters(entry), "max_items": ALL_ITEMS})
    with in_place_of(module, "agent", _fake_agent):
        try:
            flow.fn(parameters)
        except Captured as captured:
            return captured.requests
    raise AssertionError(f"{entry.entrypoint} asked nothing")


@contextmanager
def _fake_agent(_parameters: Any) -> Iterator[FakeRun]:
    yield FakeRun()


@contextmanager
def in_place_of(module: Any, name: str, stand_in: Any) -> Iterator[None]:
    """Another thing under a module's name, inside the block."""
    real = getattr(module, name)
    setattr(module, name, stand_in)
    try:
        yield
    finally:
        setattr(module, name, real)
