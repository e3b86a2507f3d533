"""What a request becomes on its way to a model, and an answer on its way back: messages, constraints, caps. Pure.

Who is asked, and through what, is `governor.inference`; whether an answer is right is `governor.answers`.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from governor.call_wire import WIRE_BYTES_AROUND, WIRE_BYTES_PER_TOKEN
from governor.policy.requests import ModelRequest

# No token of the vocabularies at hand is longer (the longest are runs of blanks and of dashes), and a cap may count
# thoughts apart; past this it is no answer to the request.
CHARACTERS_PER_TOKEN, CHARACTERS_AROUND = 64, 4096
# A number of a vector in JSON takes 22 bytes at most, and the widest vectors have 8,192 numbers.
BYTES_PER_VECTOR = 256 * 1024
# One request, one answer, of one model: litellm tries nothing by itself.
ONCE = {"num_retries": 0, "max_retries": 0, "disable_fallbacks": True}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
# The answer's only field where a label must be an object: strict providers accept no schema of a bare string.
LABEL = "label"
# With a schema litellm asks these for the whole answer at once, and they refuse options of a stream then.
WHOLE_WITH_SCHEMA = ("groq/",)
BY_SCHEMA = "Answer with one JSON object that follows this JSON schema, and with nothing else:\n"
BY_WORDS = "Answer with exactly one of these labels, and with nothing else:\n"
FENCE = "```"


def local_arguments(request: ModelRequest, temperature: float, choices_as: str) -> dict[str, Any]:
    """For an engine of this machine, which enforces the constraint while it decodes.

    Args:
        choices_as: how it is told labels, `grammar` or `schema` (`Engine.litellm_parameters`).
    """
    return {**_arguments(request, temperature, request.system), **_constraint(request, choices_as)}


def cloud_arguments(request: ModelRequest, temperature: float, calls: str, *, takes_schema: bool) -> dict[str, Any]:
    """For a provider. One that takes no schema is told in words.

    What it does not know of the parameters is left out, since it would refuse the whole: answers are checked anyway.

    Args:
        calls: the model as litellm names it.
    """
    system, constraint = request.system, dict[str, Any]()
    if takes_schema:
        constraint = _response_format(_object_schema(request))
    elif wanted := _in_words(request):
        system = f"{system}\n\n{wanted}" if system else wanted
    arguments = {**_arguments(request, temperature, system), **constraint, "drop_params": True}
    if constraint and calls.startswith(WHOLE_WITH_SCHEMA):
        del arguments["stream_options"]
    return arguments


def embed_arguments(texts: Sequence[str], calls: str) -> dict[str, Any]:
    """For one vector each, of numbers: OpenAI's client asks for base64 else. Ollama knows numbers only.

    Args:
        calls: the model as litellm names it.
    """
    form = {} if calls.startswith("ollama/") else {"encoding_format": "float"}
    return {"input": [whole(text) for text in texts], **form, **ONCE}


def most_characters(request: ModelRequest) -> int:
    """Of an answer, thoughts included; a longer one is cut off and is none."""
    return CHARACTERS_AROUND + CHARACTERS_PER_TOKEN * room(request)


def most_wire_bytes(request: ModelRequest) -> int:
    """Of the same on the wire."""
    return WIRE_BYTES_AROUND + WIRE_BYTES_PER_TOKEN * room(request)


def room(request: ModelRequest) -> int:
    """The request's cap; but a label is never cut: no token is shorter than a byte, quotes included."""
    labels = [len(json.dumps(choice).encode()) + len(LABEL) + 8 for choice in request.choices or ()]
    return max([request.max_tokens, *labels])


def whole(text: str) -> str:
    """Text that every encoder takes: halves of a pair that belong together are joined, others and NULs replaced.

    Marks that turn the direction of writing stay: they are part of many texts.
    """
    if text.isascii() and "\x00" not in text:
        return text
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return joined.replace("\x00", "\ufffd")


def plain_label(text: str) -> str:
    """A label that came as JSON, without what is around it."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return text
    label = said.get(LABEL) if isinstance(said, dict) else said
    return label if isinstance(label, str) else text


def unfenced(text: str) -> str:
    """JSON without the fence that models like to put around it."""
    lines = text.strip().splitlines()
    if len(lines) < 3 or not lines[0].startswith(FENCE) or lines[-1] != FENCE:
        return text
    return "\n".join(lines[1:-1])


def vectors_problem(vectors: Sequence[Sequence[Any]], count: int) -> str | None:
    """What is wrong with the vectors of so many texts, None when nothing is."""
    if len(vectors) != count:
        return f"gave {len(vectors)} vectors for {count} texts"
    if not all(isinstance(vector, list) and vector for vector in vectors):
        return "gave an empty vector"
    if len({len(vector) for vector in vectors}) > 1:
        return "gave vectors of different lengths"
    if not all(isinstance(value, int | float) and math.isfinite(value) for vector in vectors for value in vector):
        return "gave a vector with something in it that is no number"
    return None


def choices_grammar(choices: tuple[str, ...]) -> str:
    """GBNF (llama.cpp's grammar format) that admits exactly one of the labels."""
    return "root ::= " + " | ".join(f'"{"".join(map(_gbnf, choice))}"' for choice in choices)


def _gbnf(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _arguments(request: ModelRequest, temperature: float, system: str | None) -> dict[str, Any]:
    told = [{"role": "system", "content": whole(system)}] if system else []
    return {
        "messages": [*told, {"role": "user", "content": whole(request.text)}],
        "max_tokens": room(request),
        "temperature": temperature,
        **STREAMED,
        **ONCE,
    }


def _constraint(request: ModelRequest, choices_as: str) -> dict[str, Any]:
    """A grammar of the choices, or a JSON schema."""
    if request.choices is not None and choices_as == "grammar":
        return {"extra_body": {"grammar": choices_grammar(request.choices)}}
    if request.choices is not None:
        return _response_format({"type": "string", "enum": list(request.choices)})
    return _response_format(request.json_schema)


def _object_schema(request: ModelRequest) -> dict[str, Any] | None:
    if request.choices is None:
        return request.json_schema
    label = {"type": "string", "enum": list(request.choices)}
    return {"type": "object", "properties": {LABEL: label}, "required": [LABEL], "additionalProperties": False}


def _response_format(schema: dict[str, Any] | None) -> dict[str, Any]:
    if schema is None:
        return {}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


def _in_words(request: ModelRequest) -> str:
    if request.choices is not None:
        return BY_WORDS + "\n".join(request.choices)
    if request.json_schema is not None:
        return BY_SCHEMA + json.dumps(request.json_schema)
    return ""
