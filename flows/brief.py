"""brief: a page in the morning, in the evening, at the end of the week, for whoever runs the shop and the fleet.

Every fact and figure is code's; a model says what comes first and puts a few facts into sentences.
"""

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from blocks.agent import agent
from blocks.briefs import Asked, Brief, Gathered, gather
from blocks.checking.day_facts import Question, comes_first, first_by_rule, says_no_more
from blocks.parameters import AgentParameters
from blocks.reading.prompts import read_prompt
from blocks.untrusted import as_data
from blocks.writing.markdown import byline, cell, escaped
from governor.answers import Answer
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

# The longest choice has 160 characters; a cut one would be none of the choices.
CHOICE_TOKENS = 96
TOLD_CHARACTERS = 900


class BriefParameters(AgentParameters):
    """Which brief, and what it reads."""

    source: str = Field(
        description="day-plan and week: folder with calendars (.ics) and todo.md; the two reports do not read it."
    )
    max_items: int = Field(default=8, ge=1, le=200, description="Not used: a brief asks three questions at most.")
    brief: Brief = Field(description="day-plan, evening-report, week or fleet-report.")
    outputs: str = Field(default="state:out", description="Folder of all agents' outputs.")
    expects: list[str] = Field(default_factory=list, description="Agents (FLOW/NAME) that are named when missing.")
    prompt_file: str = "flows/prompts/brief.md"
    first_prompt_file: str = "flows/prompts/brief_first.md"


@flow(name="brief", persist_result=False)
def brief(parameters: BriefParameters) -> State:
    """Read -> facts (code) -> what comes first, and a few sentences (model) -> check -> write."""
    with agent(parameters) as run:
        told = Asked(
            source=parameters.source,
            outputs=parameters.outputs,
            expects=parameters.expects,
            agent=run.agent,
            now=run.expected_at,
            zone=parameters.timezone,
            max_bytes=parameters.max_bytes,
        )
        gathered = gather(parameters.brief, told)
        for name, digest in gathered.inputs.items():
            run.saw(name, digest, text=gathered.words)
        asked = [first_request(question, parameters) for question in gathered.questions]
        firsts = run.ask_all(asked) if asked else []
        tokens = run.tokens(parameters.max_tokens)
        said = run.ask_all([said_request(gathered, parameters, tokens)]) if gathered.told else []
        run.write(f"{parameters.brief}: {run.day}", page(gathered, firsts, said))
    return run.state


def first_request(question: Question, parameters: BriefParameters) -> ModelRequest:
    """What comes first; when something is urgent, nothing else may."""
    listed = "\n".join(f"- {text}" for text in question.texts)
    prompt = read_prompt(parameters.first_prompt_file)
    return ModelRequest(
        kind=Kind.CLASSIFY,
        prompt=prompt.safe_substitute(question=question.question, choices=listed),
        choices=question.texts,
        max_tokens=CHOICE_TOKENS,
        verifier=comes_first(question.choices),
    )


def said_request(gathered: Gathered, parameters: BriefParameters, max_tokens: int) -> ModelRequest:
    """A few sentences with nothing in them that the facts do not say."""
    text = as_data(" ".join(f"{line.rstrip('.')}." for line in gathered.told), TOLD_CHARACTERS)
    return ModelRequest(
        kind=Kind.WRITE,
        prompt=read_prompt(parameters.prompt_file).safe_substitute(text=text),
        max_tokens=max_tokens,
        verifier=says_no_more(text, gathered.agents),
    )


def page(gathered: Gathered, firsts: list[Answer], said: list[Answer]) -> str:
    """What comes first and the sentences at the top, whoever they are by; then the facts."""
    parts = list[str]()
    for question, answer in zip(gathered.questions, firsts, strict=True):
        chosen = answer.data if answer.verified else first_by_rule(question.choices)
        parts.append(f"{question.heading}: **{escaped(chosen)}** *({byline(answer)})*")
    if said and said[0].verified:
        parts.append(f"{cell(said[0].text.strip())} *({byline(said[0])})*")
    else:
        parts.append(f"{escaped(gathered.told[0] if gathered.told else gathered.nothing)} *(by rules only)*")
    return "\n\n".join([*parts, *(f"## {title}\n\n{text}" for title, text in gathered.sections)])
