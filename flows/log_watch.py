"""log-watch: what a log complains about, for whoever is on call. Code counts, the model only words it."""

import re
from collections import Counter

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from blocks.agent import agent
from blocks.checking.prose import faithful
from blocks.parameters import AgentParameters
from blocks.reading.places import read_text
from blocks.reading.prompts import read_prompt
from blocks.untrusted import as_data
from blocks.writing.markdown import byline, cell, table
from governor.answers import Answer
from governor.errors import BadInput
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

# What differs between two lines of the same cause: quoted text, hex and decimal numbers, addresses.
VARIABLE = re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)[0-9a-f]{6,}\b|\d+(?:[.,:/-]\d+)*", re.IGNORECASE)
STAMP = re.compile(r"^\S*\d[\d:.,/TZ+\-\s\[\]A-Za-z]{8,30}?\s(?=[A-Z\[\"])")


class LogWatchParameters(AgentParameters):
    """A log to cluster. Counting is code; the model only puts the largest clusters into words."""

    pattern: str = Field(default="ERROR|WARNING", description="Regular expression of the lines worth a look.")
    prompt_file: str = "flows/prompts/log_watch.md"


@flow(name="log-watch", persist_result=False)
def log_watch(parameters: LogWatchParameters) -> State:
    """Read -> cluster by template (code) -> a sentence for the largest clusters -> check -> write."""
    with agent(parameters) as run:
        clusters = cluster(read_text(parameters.source).splitlines(), parameters.pattern)
        prompt = read_prompt(parameters.prompt_file)
        top = clusters[: run.items(parameters.max_items)]
        answers = run.ask_all(
            [
                ModelRequest(
                    kind=Kind.SUMMARISE,
                    prompt=prompt.safe_substitute(text=as_data(example, 300), count=count),
                    max_tokens=run.tokens(parameters.max_tokens),
                    verifier=faithful(f"{example} {count}", most=300),
                )
                for _, count, example in top
            ]
        )
        run.write(f"Log watch: {run.agent}", page(clusters, answers))
    return run.state


def cluster(lines: list[str], pattern: str) -> list[tuple[str, int, str]]:
    """(template, count, example) of the lines that match, most frequent first; ties by template.

    Raises:
        BadInput: the pattern is no regular expression.
    """
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise BadInput(f"`pattern` is no regular expression: {error}.", remedy="Correct it in prefect.yaml.") from error
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for line in lines:
        if wanted.search(line):
            message = STAMP.sub("", line, count=1)
            template = VARIABLE.sub("#", message)[:200]
            counts[template] += 1
            examples.setdefault(template, message[:400])
    return [(t, n, examples[t]) for t, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]


def page(clusters: list[tuple[str, int, str]], answers: list[Answer]) -> str:
    """Counts from code; a sentence beside those clusters that the model worded well enough."""
    if not clusters:
        return "Nothing to report: no line matches the pattern. *(by rules only)*"
    words = [a.text.strip() if a.verified else "" for a in answers] + [""] * (len(clusters) - len(answers))
    by = [byline(a) for a in answers] + ["by rules only"] * (len(clusters) - len(answers))
    rows: list[list[object]] = [
        [count, f"`{cell(template[:110])}`", word, who]
        for (template, count, _), word, who in zip(clusters, words, by, strict=True)
    ]
    total = sum(count for _, count, _ in clusters)
    head = f"{total} lines in {len(clusters)} clusters; counts are code's, the words the model's.\n\n"
    return head + table(["count", "template", "in words", "by"], rows)
