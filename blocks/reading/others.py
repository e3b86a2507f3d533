"""What the other agents wrote last: from the provenance files beside their outputs. Their pages are outside text."""

from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt

from blocks.reading.places import locate, unreadable
from blocks.untrusted import as_data
from blocks.writing.outputs import PROVENANCE, Provenance
from governor.policy.facts import Fact

MOST_AGENTS = 200
MOST_BYTES = 262_144
# What a page says at its top; enough for a verdict or a first entry.
HEADLINE_CHARACTERS = 160


class Output(Fact):
    """The latest output of an agent.

    Attributes:
        agent: FLOW/DEPLOYMENT. folder: where it lies. day: of its page. run: that wrote it.
        headline: the beginning of its page, plain. calls, verified: of its models. sha256: of the page.
    """

    agent: str
    folder: str
    day: str
    run: str
    capped: bool
    headline: str
    calls: int
    verified: int
    sha256: str


class Outputs(Fact):
    """By agent. `problems`: outputs that cannot be read, and why."""

    outputs: tuple[Output, ...]
    problems: tuple[str, ...] = ()


def read_outputs(source: str, *, without: str, until: str) -> Outputs:
    """The latest of each agent but `without`, none from after the day `until` (YYYY-MM-DD).

    Raises:
        BadInput: there is no such folder.
    """
    top = locate(source)
    if not top.is_dir():
        raise unreadable(source, "it is no folder of outputs")
    outputs, problems = list[Output](), list[str]()
    for folder in sorted(p for p in top.iterdir() if p.is_dir() and not p.is_symlink())[:MOST_AGENTS]:
        days = sorted(p.name.removesuffix(PROVENANCE) for p in folder.glob(f"*{PROVENANCE}") if not p.is_symlink())
        days = [day for day in days if day <= until]
        if not days:
            continue
        try:
            output = _output(folder, days[-1])
        except (OSError, ValueError) as error:
            problems.append(f"the output of {as_data(folder.name, 60)} cannot be read: {type(error).__name__}")
            continue
        if output.agent != without:
            outputs.append(output)
    return Outputs(outputs=tuple(outputs), problems=tuple(problems))


def _output(folder: Path, day: str) -> Output:
    with (folder / f"{day}{PROVENANCE}").open("rb") as file:
        told = Provenance.model_validate_json(file.read(MOST_BYTES))
    with (folder / f"{day}.md").open("rb") as file:
        page = file.read(MOST_BYTES).decode("utf-8", "replace")
    return Output(
        agent=as_data(told.agent, 80),
        folder=folder.name,
        day=day,
        run=as_data(told.run, 60),
        capped=told.capped,
        headline=_headline(page),
        calls=sum(_count(call.get("calls")) for call in told.calls),
        verified=sum(_count(call.get("verified")) for call in told.calls),
        sha256=told.files.get(f"{day}.md", ""),
    )


def _headline(page: str) -> str:
    """The first paragraph that is neither a heading nor the note on caps."""
    tokens = MarkdownIt("commonmark").parse(page[:8000])
    for before, token in pairwise(tokens):
        if token.type == "inline" and before.type == "paragraph_open" and not token.content.startswith("capped:"):
            words = "".join(c.content or (" " if c.type == "softbreak" else "") for c in token.children or ())
            return as_data(words, HEADLINE_CHARACTERS)
    return ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 1_000_000 else 0
