"""compare: where two texts that should agree do not, for whoever keeps them: documents and code, old and new terms.

What is paired, what differs by rule and every quote are code's; the model only says how a pair reads.
"""

from typing import Literal

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from blocks.agent import Run, agent
from blocks.checking import drift, terms
from blocks.checking.drift import AGREES, MISSING, NAMED, NOT_LOOKED_UP, drifts
from blocks.checking.prose import Check
from blocks.checking.quotes import verbatim
from blocks.checking.terms import DUTIES, FIGURES, verdict
from blocks.parameters import AgentParameters
from blocks.reading.claims import Documents, documents_of, read_claims, read_program
from blocks.reading.clauses import changes_between
from blocks.reading.prompts import read_prompt
from blocks.untrusted import as_data, plain_line
from blocks.writing.comparison import Pair, pairs_csv, pairs_page
from blocks.writing.markdown import byline
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

PROMPTS = {"docs": "flows/prompts/compare_drift.md", "terms": "flows/prompts/compare_terms.md"}
MOST_ASKED = 300


class CompareParameters(AgentParameters):
    """What is compared with what. `max_items`: most pairs that the model reads."""

    against: str = Field(description="Folder of the code, or the old version; relative paths start at the checkout.")
    what: Literal["docs", "terms"] = Field(
        default="docs", description="Documents with code, or a new version of terms with the old one."
    )
    max_rows: int = Field(default=60, ge=1, le=500, description="Most rows; the page says how many more there are.")
    prompt_file: str = Field(default="", description="Words of your own; empty: those that come with it.")


@flow(name="compare", persist_result=False)
def compare(parameters: CompareParameters) -> State:
    """Read both -> pair and judge by rule (code) -> how each pair reads (model) -> check the quotes -> write."""
    with agent(parameters) as run:
        pairs, head = docs_pairs(run, parameters) if parameters.what == "docs" else terms_pairs(run, parameters)
        sure = [pair for pair in pairs[: parameters.max_rows] if quotes_stand(parameters, pair)]
        shown = read_by_model(run, sure, parameters)
        more = len(pairs) - len(shown)
        text = pairs_page(shown, head=head, more=more)
        run.write(f"Compare: {run.agent}", text, files={"pairs.csv": pairs_csv(shown)})
    return run.state


def docs_pairs(run: Run, parameters: CompareParameters) -> tuple[list[Pair], str]:
    """Claims of documents that are wrong by rule, or that rules cannot decide, with the line of the code."""
    documents = documents_of(parameters.source, max_bytes=parameters.max_bytes)
    claims = read_claims(documents)
    program = read_program(parameters.against, claims, max_bytes=parameters.max_bytes)
    run.saw(f"{parameters.source}, documents", documents.sha256)
    run.saw(f"{parameters.against}, code", program.sha256)
    found = drifts(claims, program)
    wrong = sum(one.is_wrong for one in found)
    pairs = [
        Pair(f"{one.claim.kind} {one.claim.name}", one.verdict, one.claim.said, one.code)
        for one in found
        if one.verdict != AGREES
    ]
    agreeing = len(found) - len(pairs)
    unknown = sum(one.verdict == NOT_LOOKED_UP for one in found)
    readers = len(pairs) - wrong - unknown
    head = f"{len(found)} claims: {wrong} wrong by rule, {agreeing} right by rule, {readers} for a reader"
    if unknown:
        head += f", {unknown} not looked up"
    if program.unread:
        head += f"; {program.unread} files of the code are past the bounds, so nothing counts as missing"
    return pairs, f"{head}.{unread(documents)}"


def terms_pairs(run: Run, parameters: CompareParameters) -> tuple[list[Pair], str]:
    """Clauses that changed, with what rules see in the change."""
    old, new = (documents_of(at, max_bytes=parameters.max_bytes) for at in (parameters.against, parameters.source))
    run.saw(f"{parameters.source}, new version", new.sha256)
    run.saw(f"{parameters.against}, old version", old.sha256)
    found = changes_between(old, new)
    pairs = [Pair("clause", verdict(change), change.new, change.old) for change in found.changes]
    head = f"{len(pairs)} clauses changed, {found.stayed} stayed"
    if found.left:
        head += f", {found.left} past the bound were not compared"
    if found.lonely:
        head += f". Only on one side, so not compared: {', '.join(as_data(name, 80) for name in found.lonely[:10])}"
    return pairs, f"{head}.{unread(old, new)}"


def unread(*read: Documents) -> str:
    """A sentence on what of the documents was not read."""
    left = [as_data(what, 120) for documents in read for what in documents.unread]
    return f" Not read: {', '.join(left[:10])}." if left else ""


def quotes_stand(parameters: CompareParameters, pair: Pair) -> bool:
    """Whether both quotes stand in their files, where they say."""
    sides = ((parameters.source, pair.said), (parameters.against, pair.held))
    return all(quote is None or verbatim(source, quote) for source, quote in sides)


def read_by_model(run: Run, pairs: list[Pair], parameters: CompareParameters) -> list[Pair]:
    """The same pairs, those that rules leave open also with how the model reads them."""
    prompt = read_prompt(parameters.prompt_file or PROMPTS[parameters.what])
    graver = sorted(pairs, key=lambda pair: pair.verdict == terms.WORDS)  # where only words changed, others come first
    asked = [pair for pair in graver if choices_for(pair, parameters)][: run.items(parameters.max_items)]
    answers = run.ask_all(
        [
            ModelRequest(
                kind=Kind.COMPARE,
                prompt=prompt.safe_substitute(dict(zip(("said", "code", "new", "old"), words(pair) * 2, strict=True))),
                choices=choices_for(pair, parameters),
                max_tokens=run.tokens(parameters.max_tokens),
                verifier=rule_for(pair, parameters),
            )
            for pair in asked
        ]
    )
    read = {pair: (a.data, byline(a)) for pair, a in zip(asked, answers, strict=True) if a.verified}
    return [pair.read(*read[pair]) if pair in read else pair for pair in pairs]


def choices_for(pair: Pair, parameters: CompareParameters) -> tuple[str, ...] | None:
    """How a pair can be read, as far as rules leave it open; None where there is nothing to ask.

    What rules decided about documents nobody is asked again, what the code has not cannot agree with it, and what
    differs in a figure or a duty is not the same.
    """
    if parameters.what == "docs":
        if pair.held is None or pair.verdict not in {NAMED, MISSING}:
            return None
        found = (drift.CONTRADICT, drift.UNRELATED)
        return (drift.AGREE, *found) if pair.verdict == NAMED else found
    differs = pair.said is None or pair.held is None or pair.verdict.startswith((FIGURES, DUTIES))
    new, old = words(pair)
    return terms.readings(old, new, is_open=not differs)


def rule_for(pair: Pair, parameters: CompareParameters) -> Check:
    """What a reading must fit: the numbers and words of both lines, or the words that changed."""
    one, other = words(pair)
    if parameters.what == "docs":
        return drift.reading_rule(pair.about.partition(" ")[2], one, other)
    return terms.reading_rule(other, one)


def words(pair: Pair) -> tuple[str, str]:
    """Both quotes for a prompt."""
    said, held = (plain_line(text, MOST_ASKED) or "(nothing)" for text in pair.around(MOST_ASKED))
    return said, held
