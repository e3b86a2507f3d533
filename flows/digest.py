"""digest: a feed in a page, for whoever has no time to read it. Sorted by topic, one sentence an entry."""

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field, field_validator

from blocks.agent import CouldNot, agent
from blocks.checking.labels import by_words, naming
from blocks.checking.prose import first_sentence
from blocks.checking.retold import retold
from blocks.parameters import AgentParameters
from blocks.reading.feeds import read_feed
from blocks.reading.items import Item
from blocks.reading.prompts import read_prompt
from blocks.untrusted import fence
from blocks.writing.csv_files import csv_text
from blocks.writing.markdown import BY_RULES, byline, cell, escaped
from governor.answers import Answer
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

TOPIC_QUESTION = "Choose the topic of the news.\nTopics:\n{topics}\n\nNews:\n{entry}\n{guess}Topic:"
UNSORTED = "unsorted"
COLUMNS = ["id", "topic", "topic by", "title", "url", "written at", "summary", "summary by"]
# Of an entry with less text than this, no sentence can be shorter than the entry.
LEAST_TEXT = 40


class DigestParameters(AgentParameters):
    """A feed to read, the topics to sort it by, and words without which an entry is left out."""

    topics: dict[str, str] = Field(
        min_length=2, max_length=12, description="Topic -> short phrase the model chooses among."
    )
    words: list[str] = Field(
        default_factory=list, max_length=100, description="Keep only entries with one of these words; none: keep all."
    )
    prompt_file: str = Field(default="flows/prompts/digest.md", description="Asks for the sentence on an entry.")

    @field_validator("topics")
    @classmethod
    def _each_phrase_names_one(cls, value: dict[str, str]) -> dict[str, str]:
        if len(set(value.values())) < len(value):
            raise ValueError("two topics have the same phrase, so nobody could tell which one was chosen")
        return value


@flow(name="digest", persist_result=False)
def digest(parameters: DigestParameters) -> State:
    """Read -> keep what names the words -> choose topics -> summarise -> check -> write."""
    with agent(parameters) as run:
        found = read_feed(parameters.source, max_bytes=parameters.max_bytes)
        kept = naming(found.items, parameters.words)
        items = run.take(kept)
        if items and not any(item.text for item in items):
            raise CouldNot("no entry of the feed has any text", facts="\n".join(f"- {escaped(i.title)}" for i in items))
        topics = run.ask_all([topic_request(item, parameters.topics) for item in items])
        prompt = read_prompt(parameters.prompt_file)
        long_enough = [item for item in items if len(item.text) >= LEAST_TEXT]
        summaries = run.ask_all(
            [
                ModelRequest(
                    kind=Kind.SUMMARISE,
                    prompt=prompt.safe_substitute(entry=fence(f"{item.title}. {item.text}")),
                    max_tokens=run.tokens(parameters.max_tokens),
                    verifier=retold(f"{item.title} {item.text}"),
                )
                for item in long_enough
            ]
        )
        said = {item.id: answer for item, answer in zip(long_enough, summaries, strict=True)}
        told = parameters.topics
        rows = [row(item, topic, said.get(item.id), told) for item, topic in zip(items, topics, strict=True)]
        counts = (len(found.items) - len(kept), len(kept) - len(items))
        left_out = left_out_lines(*counts, words=parameters.words, problems=found.problems)
        text = page(rows, told, left_out)
        run.write(f"Digest: {run.agent}", text, files={"rows.csv": csv_text(COLUMNS, rows)})
    return run.state


def topic_request(item: Item, topics: dict[str, str]) -> ModelRequest:
    """Which of the topics' phrases fits; the answer is constrained to them."""
    listed = "\n".join(f"- {phrase}" for phrase in topics.values())
    guess = by_words(f"{item.title} {item.text}", topics)
    return ModelRequest(
        kind=Kind.CLASSIFY,
        prompt=TOPIC_QUESTION.format(
            entry=fence(f"{item.title}. {item.text[:200]}"),
            topics=listed,
            guess=f"First guess: {topics[guess]}\n" if guess else "",
        ),
        choices=tuple(topics.values()),
        max_tokens=24,
    )


def row(item: Item, topic: Answer, summary: Answer | None, topics: dict[str, str]) -> list[str]:
    """An entry by `COLUMNS`: what stands for a topic or a sentence that no model said is said by rules."""
    named = {phrase: name for name, phrase in topics.items()}.get(topic.data) if topic.verified else None
    return [
        item.id,
        named or by_words(f"{item.title} {item.text}", topics) or UNSORTED,
        byline(topic) if named else BY_RULES,
        item.title,
        item.url,
        item.at.isoformat() if item.at else "",
        *said_of(item, summary),
    ]


def said_of(item: Item, summary: Answer | None) -> tuple[str, str]:
    """The sentence on an entry, and whose words it is."""
    if summary is None or not summary.verified:
        return first_sentence(item.text), BY_RULES
    return " ".join(summary.text.split()), byline(summary)


def page(rows: list[list[str]], topics: dict[str, str], left_out: list[str]) -> str:
    """The digest: entries under their topics; every sentence says whose it is, every link is the feed's."""
    sections: dict[str, list[str]] = {name: [] for name in (*topics, UNSORTED)}
    for _, topic, _, title, url, at, said, by in rows:
        head = f"**[{escaped(title)}]({url})**" if url else f"**{escaped(title)}**"
        day = f" ({at[:10]})" if at else ""
        sections[topic].append(f"- {head}{day}: {escaped(said) or 'no text'} *({cell(by)})*")
    told = [f"## {escaped(name)}\n\n" + "\n".join(lines) for name, lines in sections.items() if lines]
    return "\n\n".join([f"{len(rows)} entries.", *told, *left_out])


def left_out_lines(without: int, older: int, *, words: list[str], problems: list[str]) -> list[str]:
    """What the page does not hold, so that nobody takes it for everything."""
    lines = [f"{without} entries name none of: {', '.join(words)}."] if words else []
    lines += [f"{older} older entries are left out (`max_items`)."] if older else []
    lines += [f"Not read: {escaped('; '.join(problems[:20]))}."] if problems else []
    return ["## Left out\n\n" + "\n".join(f"- {line}" for line in lines)] if lines else []
