"""digest: a feed in a page, for whoever has no time to read it. Sorted by topic, one sentence an entry."""

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from blocks.agent import CouldNot, agent
from blocks.checking.prose import faithful, first_sentence
from blocks.parameters import AgentParameters
from blocks.reading.feeds import read_feed
from blocks.reading.items import Item
from blocks.reading.prompts import read_prompt
from blocks.writing.markdown import byline, cell
from governor.answers import Answer
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

TOPIC_QUESTION = "News: {title}. {text}\n\nWhat is this news about?"


class DigestParameters(AgentParameters):
    """A feed to read, and the topics to sort it by: topic -> words that name it."""

    topics: dict[str, str] = Field(min_length=2, description="Topic -> short phrase the model chooses among.")
    prompt_file: str = "flows/prompts/digest.md"


@flow(name="digest", persist_result=False)
def digest(parameters: DigestParameters) -> State:
    """Read -> choose topics (small model) -> summarise (best model) -> check -> write."""
    with agent(parameters) as run:
        items = read_feed(parameters.source, max_items=run.items(parameters.max_items))
        prompt = read_prompt(parameters.prompt_file)
        topics = run.ask_all([topic_request(item, parameters.topics) for item in items])
        summaries = run.ask_all(
            [
                ModelRequest(
                    kind=Kind.SUMMARISE,
                    prompt=prompt.safe_substitute(title=item.title, text=item.text),
                    max_tokens=run.tokens(parameters.max_tokens),
                    verifier=faithful(f"{item.title} {item.text}"),
                )
                for item in items
            ]
        )
        if not any(item.text for item in items):
            raise CouldNot("no entry of the feed has any text", facts="\n".join(f"- {i.title}" for i in items))
        run.write(f"Digest: {run.agent}", page(items, topics, summaries, parameters.topics))
    return run.state


def topic_request(item: Item, topics: dict[str, str]) -> ModelRequest:
    """Which of the topics' phrases fits; the answer is constrained to them."""
    return ModelRequest(
        kind=Kind.CLASSIFY,
        prompt=TOPIC_QUESTION.format(title=item.title, text=item.text[:200]),
        choices=tuple(topics.values()),
        max_tokens=24,
    )


def page(items: list[Item], topics: list[Answer], summaries: list[Answer], names: dict[str, str]) -> str:
    """The digest: entries under their topics; every sentence says whose it is, every link is the feed's."""
    by_phrase = {phrase: name for name, phrase in names.items()}
    sections: dict[str, list[str]] = {}
    for item, topic, summary in zip(items, topics, summaries, strict=True):
        said = summary.text.strip() if summary.verified else first_sentence(item.text)
        head = f"**[{cell(item.title)}]({item.url})**" if item.url else f"**{cell(item.title)}**"
        name = by_phrase[topic.data] if topic.verified else "unsorted"
        sections.setdefault(name, []).append(f"- {head}: {cell(said)} *({byline(summary)})*")
    return "\n\n".join(f"## {name}\n\n" + "\n".join(lines) for name, lines in sorted(sections.items()))
