"""The form of an agent: every key at every depth is known, every value fits, and the error says what is allowed."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from blocks.parameters import AgentParameters
from deployments.form import problems


class Part(BaseModel):
    """Does not forbid unknown keys by itself."""

    name: str
    weight: int = 1


class Open(BaseModel):
    """Takes any key, and says so."""

    model_config = ConfigDict(extra="allow")


class Form(AgentParameters):
    """A form with parts."""

    labels: dict[str, str] = Field(default_factory=dict, description="Label -> words.")
    part: Part | None = None
    parts: list[Annotated[Part, Field()]] = Field(default_factory=list)
    by_name: dict[str, Part] = Field(default_factory=dict)
    either: int | Part = 0
    anything: Open = Open()


@pytest.mark.parametrize(
    ("values", "key", "says"),
    [
        ({"sourc": "x"}, "sourc", "Did you mean `source`?"),
        ({"source": "x", "part": {"name": "a", "wieght": 2}}, "part.wieght", "Did you mean `weight`?"),
        ({"source": "x", "parts": [{"name": "a"}, {"nam": "b"}]}, "parts.1.nam", "Did you mean `name`?"),
        ({"source": "x", "by_name": {"k": {"name": "a", "zzz": 1}}}, "by_name.k.zzz", "Known here: name, weight."),
        ({"source": "x", "either": {"name": "a", "weihgt": 1}}, "either.weihgt", "Did you mean `weight`?"),
        ({"max_items": 3}, "source", "File, folder"),
        ({"source": "x", "max_items": 0}, "max_items", "Newest items"),
        ({"source": "x", "due": "25:00"}, "due", "Local time"),
        ({"source": "x", "timezone": "Mars/Olympus"}, "timezone", "Time zone"),
        ({"source": "x", "privacy": "secret"}, "privacy", "Where the words may go"),
        ({"source": "x", "labels": "no mapping"}, "labels", "Label -> words."),
        ("no mapping at all", "parameters", "Correct it."),
        (None, "parameters", "Correct it."),
    ],
)
def test_what_does_not_fit_is_named_with_what_is_allowed(values: Any, key: str, says: str) -> None:
    [problem] = problems(Form, values)
    assert problem.key == key
    assert says in problem.remedy
    assert problem.first == key.split(".")[0]


@pytest.mark.parametrize(
    "values",
    [
        {"source": "x"},
        {"source": "x", "part": None, "parts": [{"name": "a"}], "by_name": {"k": {"name": "b", "weight": 2}}},
        {"source": "x", "labels": {"any": "word", "at": "all"}, "either": 3, "anything": {"goes": 1}},
    ],
)
def test_what_fits_has_no_problem(values: dict[str, Any]) -> None:
    assert problems(Form, values) == []
