"""What came back: an answer and whether it stands. The rules that every answer is judged by, whoever gave it."""

import json
from dataclasses import dataclass, field
from typing import Any

import jsonschema

from governor.policy import doubt
from governor.policy.facts import Kind
from governor.policy.requests import Candidate, ModelRequest, Route, Verifier

# Of these the beginning is worth something; of those only the whole is.
PROSE = frozenset({Kind.SUMMARISE, Kind.WRITE})
WHOLE = frozenset({Kind.TRANSLATE, Kind.CODE, Kind.COMPARE})


@dataclass(frozen=True)
class Answer:
    """What came back. `data` is the parsed object, the label, the vectors or the text; trust it only if `verified`.

    `failed`: there was no answer at all, so nothing is known about how well the model does.
    """

    text: str
    data: Any
    verified: bool
    problems: list[str]
    tier: str
    model: str
    demo: bool
    reason: str
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    first_token_seconds: float = 0.0
    failed: bool = False
    parameters_billion: float = 0.0


@dataclass
class Asked:
    """All answers of a batch, in the order of the requests, and what they cost. `ids`: of the requests on record."""

    answers: list[Answer] = field(default_factory=list)
    route: Route = field(default_factory=lambda: Route(candidates=()))
    line_seconds: float = 0.0
    desk_seconds: float = 0.0
    ids: list[str] = field(default_factory=list)


def answer_by(candidate: Candidate, *, problems: list[str], **rest: Any) -> Answer:
    """An answer of this candidate; it stands when there is no problem with it."""
    return Answer(
        verified=not problems,
        problems=problems,
        tier=candidate.tier,
        model=candidate.model,
        demo=candidate.spec is not None and candidate.spec.demo,
        reason=candidate.reason,
        parameters_billion=candidate.parameters_billion,
        **rest,
    )


def no_answer(candidate: Candidate, why: str, seconds: float = 0.0) -> Answer:
    """That this candidate gave none, and why."""
    return answer_by(candidate, text="", data=None, problems=[why], seconds=seconds, failed=True)


def judged(request: ModelRequest, said: str, *, cut: bool) -> tuple[str, Any, list[str]]:
    """The text that counts, the answer as data, and what is wrong with it.

    Judged by form, by the request's own rule, or by its own doubt where there is no rule. `cut`: a cap ended it; of
    prose the whole sentences stand, anything else is incomplete.
    """
    text = whole_sentences(said) if cut and request.kind in PROSE else said
    data, problems = parse(request, text)
    if not problems and cut and request.kind in WHOLE:
        problems = ["it was cut off by the cap on its tokens"]
    if not problems and request.verifier is not None:
        problems = _by_its_rule(request.verifier, text)
    if not problems and not request.is_checked:
        problems = doubt.doubts(text)
    return text, data, problems


def _by_its_rule(verifier: Verifier, text: str) -> list[str]:
    """A rule that cannot read an answer has found something wrong with it."""
    try:
        return verifier(text)
    except Exception as error:  # the agent's own code, on words that nobody foresaw
        return [f"its rule could not read it: {type(error).__name__}"]


def parse(request: ModelRequest, text: str) -> tuple[Any, list[str]]:
    """The answer as data and what the built-in rules say: label in the choices, object as in the schema."""
    plain = text.strip()
    if request.choices is not None:
        label = plain.strip('"')
        return (label, []) if label in request.choices else (None, [f"{plain[:40]!r} is none of the choices"])
    if request.json_schema is not None:
        return _object(plain, request.json_schema)
    return plain, [] if plain else ["it said nothing"]


def _object(text: str, schema: dict[str, Any]) -> tuple[Any, list[str]]:
    try:
        data = json.loads(text)
        jsonschema.validate(data, schema)
    except json.JSONDecodeError as error:
        return None, [f"no JSON: {error.msg}"]
    except (ValueError, RecursionError):  # a number of 5,000 digits, a thousand brackets
        return None, ["no JSON that can be read"]
    except jsonschema.SchemaError as error:
        return None, [f"the request's own schema is none: {error.message[:120]}"]
    except jsonschema.ValidationError as error:
        return None, [f"not as the schema says: {error.message[:120]}"]
    return data, []


def whole_sentences(text: str) -> str:
    """What was written before a cap cut it off, without the sentence that was cut."""
    ends = [text.rfind(mark) for mark in (". ", "! ", "? ", ".\n", "!\n", "?\n")]
    return text[: max(ends) + 1] if max(ends) > 0 else text
