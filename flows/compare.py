"""compare: where two texts that should agree do not, for whoever keeps them: documents and code, old and new terms.

What is paired, what differs by rule and every quote are code's; the model only says how a pair reads.
"""

from typing import Literal

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from blocks.agent import Run, agent
from blocks.checking.drift import AGREES, MISSING, NAMED, drifts
from blocks.checking.quotes import verbatim
from blocks.checking.review import code_line
from blocks.checking.terms import DUTIES, FIGURES, verdict
from blocks.parameters import AgentParameters
from blocks.reading.claims import Quote, read_claims, read_program
from blocks.reading.clauses import changes_between
from blocks.reading.prompts import read_prompt
from blocks.untrusted import as_data
from blocks.writing.comparison import Pair, pairs_csv, pairs_page
from blocks.writing.markdown import byline
from blocks.writing.outputs import sha256_of
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

PROMPTS = {"docs": "flows/prompts/compare_drift.md", "terms": "flows/prompts/compare_terms.md"}
AGREE, CONTRADICT, UNRELATED = "they agree", "they contradict each other", "they are about different things"
BETTER, WORSE, SAME = "it is better for the customer", "it is worse for the customer", "it means the same"


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
        pairs, head = docs_pairs(parameters) if parameters.what == "docs" else terms_pairs(parameters)
        run.saw(parameters.source, sha256_of([pair.quotes for pair in pairs]))
        run.saw(parameters.against, sha256_of([head]))
        sure = [pair for pair in pairs[: parameters.max_rows] if quotes_stand(parameters, pair)]
        shown = read_by_model(run, sure, parameters)
        more = len(pairs) - len(shown)
        text = pairs_page(shown, head=head, more=more)
        run.write(f"Compare: {run.agent}", text, files={"pairs.csv": pairs_csv(shown)})
    return run.state


def docs_pairs(parameters: CompareParameters) -> tuple[list[Pair], str]:
    """Claims of documents that are wrong by rule, or that rules cannot decide, with the line of the code."""
    found = drifts(read_claims(parameters.source), read_program(parameters.against))
    wrong = sum(drift.is_wrong for drift in found)
    pairs = [
        Pair(f"{drift.claim.kind} {drift.claim.name}", drift.verdict, drift.claim.said, drift.code)
        for drift in found
        if drift.verdict != AGREES
    ]
    agreeing = len(found) - len(pairs)
    head = f"{len(found)} claims: {wrong} wrong by rule, {agreeing} right by rule, {len(pairs) - wrong} for a reader."
    return pairs, head


def terms_pairs(parameters: CompareParameters) -> tuple[list[Pair], str]:
    """Clauses that changed, with what rules see in the change."""
    changes, lonely, stayed = changes_between(parameters.against, parameters.source)
    pairs = [Pair("clause", verdict(change), change.new, change.old) for change in changes]
    head = f"{len(pairs)} clauses changed, {stayed} stayed."
    if lonely:
        head += f" Only on one side, so not compared: {', '.join(as_data(name, 80) for name in lonely[:10])}."
    return pairs, head


def quotes_stand(parameters: CompareParameters, pair: Pair) -> bool:
    """Whether both quotes stand in their files, where they say."""
    sides = ((parameters.source, pair.said), (parameters.against, pair.held))
    return all(quote is None or verbatim(source, quote) for source, quote in sides)


def read_by_model(run: Run, pairs: list[Pair], parameters: CompareParameters) -> list[Pair]:
    """The same pairs, those that rules leave open also with how the model reads them."""
    prompt = read_prompt(parameters.prompt_file or PROMPTS[parameters.what])
    asked = [pair for pair in pairs if choices_for(pair, parameters)][: run.items(parameters.max_items)]
    answers = run.ask_all(
        [
            ModelRequest(
                kind=Kind.COMPARE,
                prompt=prompt.safe_substitute(
                    said=words(pair.said), new=words(pair.said), code=words(pair.held), old=words(pair.held)
                ),
                choices=choices_for(pair, parameters),
                max_tokens=run.tokens(parameters.max_tokens),
            )
            for pair in asked
        ]
    )
    read = {pair: (a.data, byline(a)) for pair, a in zip(asked, answers, strict=True) if a.verified}
    return [pair.read(*read[pair]) if pair in read else pair for pair in pairs]


def choices_for(pair: Pair, parameters: CompareParameters) -> tuple[str, ...] | None:
    """How a pair can be read, as far as rules leave it open; None where there is nothing to ask.

    What rules decided about documents nobody is asked again, and what differs in a figure or a duty is not the same.
    """
    if parameters.what == "docs":
        is_open = pair.held is not None and pair.verdict in {NAMED, MISSING}
        return (AGREE, CONTRADICT, UNRELATED) if is_open else None
    differs = pair.said is None or pair.held is None or pair.verdict.startswith((FIGURES, DUTIES))
    return (BETTER, WORSE) if differs else (BETTER, WORSE, SAME)


def words(quote: Quote | None) -> str:
    """A quote for a prompt."""
    return code_line(" ".join(quote.text.split()), 300) if quote else "(nothing)"
