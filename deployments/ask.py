"""`hotdesk ask`: one request through router and desk, and which model answered it, and why."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deployments.environment import apply_client_environment
from deployments.own_log import log_to_file
from governor.errors import BadInput
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest, Privacy, Quality
from governor.settings import prepare_home

if TYPE_CHECKING:
    from governor.answers import Answer, Asked
    from governor.decided import Served

# What is asked for when the kind alone is given; small, because the demo model has 135M parameters.
DEFAULT_LABELS = ("positive", "neutral", "negative")
DEFAULT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {name: {"type": "string", "maxLength": 80} for name in ("who", "what", "when", "amount")},
    "required": ["who", "what", "when", "amount"],
    "additionalProperties": False,
}
NOTHING = "Nothing was asked."
SYSTEM = {
    Kind.CLASSIFY: "Answer with the one label that fits the text best.",
    Kind.EXTRACT: "Copy the asked fields from the text as JSON. Leave a field empty when the text does not say.",
    Kind.SUMMARISE: "Summarise the text in one or two short sentences.",
    Kind.WRITE: "Write what is asked for, short and plain.",
    Kind.TRANSLATE: "Translate the text into the language that it asks for, else into English. Say nothing else.",
    Kind.CODE: "Write the code that is asked for, and nothing else.",
    Kind.COMPARE: "Compare what the text names: what it shares, then what differs, short and plain.",
}
MAX_TOKENS = {
    Kind.CLASSIFY: 16,
    Kind.EXTRACT: 160,
    Kind.SUMMARISE: 120,
    Kind.WRITE: 200,
    Kind.TRANSLATE: 200,
    Kind.CODE: 300,
    Kind.COMPARE: 200,
    Kind.EMBED: 1,
}


def request_for(
    text: str, *, kind: str, labels: list[str], privacy: str | None = None, quality: str | None = None
) -> ModelRequest:
    """The request behind the command line.

    Args:
        privacy: such as `local-only`, which silence means too. quality: `quick` or `good`.

    Raises:
        BadInput: unknown kind, privacy or quality, nothing asked, or labels that do not make a choice.
    """
    asked = Kind(_known("kind", kind, [member.value for member in Kind]))
    if not text.strip():
        raise BadInput("There is nothing to ask.", means=NOTHING, remedy='Give a text: hotdesk ask --kind write "..."')
    if labels and asked is not Kind.CLASSIFY:
        raise BadInput(f"--label is for --kind classify, not {kind}.", means=NOTHING, remedy="Leave it out.")
    if len(set(labels)) == 1:
        raise BadInput("One label is no choice.", means=NOTHING, remedy="Give --label twice or more.")
    embeds = asked is Kind.EMBED
    return ModelRequest(
        kind=asked,
        prompt="Make a vector of the text." if embeds else text,
        inputs={"text": text} if embeds else {},
        system=SYSTEM.get(asked),
        choices=tuple(dict.fromkeys(labels)) or DEFAULT_LABELS if asked is Kind.CLASSIFY else None,
        json_schema=DEFAULT_SCHEMA if asked is Kind.EXTRACT else None,
        privacy=None if privacy is None else Privacy(_known("privacy", privacy, list(Privacy)).replace("-", "_")),
        quality=None if quality is None else Quality(_known("quality", quality, list(Quality))),
        max_tokens=MAX_TOKENS[asked],
    )


def run_ask(
    text: str, *, kind: str, labels: list[str], patience_seconds: float, privacy: str | None, quality: str | None
) -> int:
    """Ask and print: the answer on stdout, who gave it and why on stderr; 1 when it passed no check."""
    request = request_for(text, kind=kind, labels=labels, privacy=privacy, quality=quality)
    where = prepare_home()
    log_to_file(where, "ask")
    apply_client_environment(where)
    from blocks.router import current_router  # imports Prefect, which reads the environment
    from governor.batch import Mandate
    from governor.decided import of_requests, requests_of
    from governor.state.sessions import reading

    asked = current_router().ask_all([request], mandate=Mandate("ask", patience_seconds))
    answer = asked.answers[0]
    with reading() as session:
        served = requests_of(of_requests(session, asked.ids))
    print(said(answer))
    for line in explain(answer, asked, served):
        print(line, file=sys.stderr)
    return 0 if answer.verified else 1


def said(answer: "Answer") -> str:
    """The answer as a person reads it: of a vector, how long it is."""
    vectors = answer.data if isinstance(answer.data, list) else []
    return f"a vector of {len(vectors[0])} numbers" if vectors else answer.text


def explain(answer: "Answer", asked: "Asked", served: Sequence["Served"] = ()) -> list[str]:
    """Which model, why, which others and why not, how it went from one to the next, and what it cost."""
    from blocks.why_line import cost_words
    from deployments.why_view import other_words, way_words
    from governor.decided import cost_of

    demo = " (demo model, 135M)" if answer.demo else ""
    calls = [call for one in served for call in one.calls]
    others = [other for other in (calls[0].candidates if calls else ()) if other["tier"] != answer.tier]
    lines = [
        f"{answer.model}{demo}, tier {answer.tier}: {answer.reason}",
        *(f"else {other_words(other)}" for other in others),
        *(f"not {refusal.tier}: {refusal.reason}" for refusal in asked.route.refusals),
        *(f"then {way_words(one)}" for one in served if len(one.calls) > 1),
        f"{asked.line_seconds:.1f} s in line, {asked.desk_seconds:.1f} s at the desk,"
        + ", ".join(
            [f" {answer.tokens_in} tokens read", f"{answer.tokens_out} written", *cost_words(cost_of(calls))[2:]]
        ),
        *(f"not verified: {problem}" for problem in answer.problems),
    ]
    return [f"-- {line}" for line in lines]


def _known(what: str, value: str, names: Sequence[str]) -> str:
    """The value, if it is one of the names. Raises BadInput."""
    shown = [str(name).replace("_", "-") for name in names]
    if value.replace("_", "-") not in shown:
        raise BadInput(f"There is no {what} {value!r}.", means=NOTHING, remedy=f"Use one of: {', '.join(shown)}.")
    return value
