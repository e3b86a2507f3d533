"""`hotdesk ask`: one request through router and desk, and which model answered it, and why."""

import sys
from typing import TYPE_CHECKING, Any

from deployments.environment import apply_client_environment
from deployments.own_log import log_to_file
from governor.errors import BadInput
from governor.policy.facts import Kind, ModelRequest
from governor.settings import prepare_home

if TYPE_CHECKING:
    from governor.asking import Answer, Asked

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
}
MAX_TOKENS = {Kind.CLASSIFY: 16, Kind.EXTRACT: 160, Kind.SUMMARISE: 120, Kind.WRITE: 200}


def request_for(text: str, *, kind: str, labels: list[str]) -> ModelRequest:
    """The request behind the command line.

    Raises:
        BadInput: unknown kind, nothing asked, or labels that do not make a choice.
    """
    known = ", ".join(member.value for member in Kind)
    if kind not in {member.value for member in Kind}:
        raise BadInput(f"There is no kind {kind!r}.", means=NOTHING, remedy=f"Kinds are: {known}.")
    if not text.strip():
        raise BadInput("There is nothing to ask.", means=NOTHING, remedy='Give a text: hotdesk ask --kind write "..."')
    if labels and kind != Kind.CLASSIFY:
        raise BadInput(f"--label is for --kind classify, not {kind}.", means=NOTHING, remedy="Leave it out.")
    if len(set(labels)) == 1:
        raise BadInput("One label is no choice.", means=NOTHING, remedy="Give --label twice or more.")
    asked = Kind(kind)
    return ModelRequest(
        kind=asked,
        prompt=text,
        system=SYSTEM[asked],
        choices=tuple(dict.fromkeys(labels)) or DEFAULT_LABELS if asked is Kind.CLASSIFY else None,
        json_schema=DEFAULT_SCHEMA if asked is Kind.EXTRACT else None,
        max_tokens=MAX_TOKENS[asked],
    )


def run_ask(text: str, *, kind: str, labels: list[str], patience_seconds: float) -> int:
    """Ask and print: the answer on stdout, who gave it and why on stderr; 1 when it passed no check."""
    request = request_for(text, kind=kind, labels=labels)
    where = prepare_home()
    log_to_file(where, "ask")
    apply_client_environment(where)
    from governor.asking import Ask, ask_all  # imports Prefect, which reads the environment

    asked = ask_all([Ask(request)], agent="ask", patience_seconds=patience_seconds)
    answer = asked.answers[0]
    print(answer.text)
    for line in explain(answer, asked):
        print(line, file=sys.stderr)
    return 0 if answer.verified else 1


def explain(answer: "Answer", asked: "Asked") -> list[str]:
    """Which model, why, what it cost, and what the checks said."""
    demo = " (demo model, 135M)" if answer.demo else ""
    refused = [f"not {refusal.tier}: {refusal.reason}" for refusal in asked.route.refusals]
    return [
        f"-- {answer.model}{demo}, tier {answer.tier}: {answer.reason}",
        *(f"-- {line}" for line in refused),
        f"-- {asked.line_seconds:.1f} s in line, {asked.desk_seconds:.1f} s at the desk,"
        f" {answer.tokens_in} tokens read, {answer.tokens_out} written",
        *(f"-- not verified: {problem}" for problem in answer.problems),
    ]
