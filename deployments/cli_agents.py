"""The commands about single agents: `hotdesk use` and `hotdesk new-agent`. Heavy imports stay inside them."""

from typing import Annotated

import typer

from governor.errors import BadInput


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.command()(use)
    app.command("new-agent")(new_agent)


def use(
    agent: Annotated[str | None, typer.Argument(help="FLOW/DEPLOYMENT, or the deployment's name.")] = None,
    source: Annotated[str | None, typer.Option(help="Your file, folder or http(s) address.")] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of its form in the UI; give it several times.")
    ] = None,
    due: Annotated[str | None, typer.Option(help="When its output is wanted, such as 07:00.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Zone of its times, such as Europe/Berlin; of all agents where none is named.")
    ] = None,
    privacy: Annotated[str | None, typer.Option(help="local-only, no-training or public.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Back to its samples, and paused.")] = False,
    ask_again: Annotated[
        bool, typer.Option("--ask-again", help="Forget what models answered it, and change nothing else.")
    ] = False,
    everything: Annotated[bool, typer.Option("--list", help="Show what every agent works on.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The list for programs.")] = False,
) -> None:
    """Move an agent from its samples to your own data.

    Kept in the state folder; prefect.yaml stays untouched.
    """
    from deployments.use import Wishes, run_use

    wishes = Wishes(source, tuple(values or ()), due, timezone, privacy, reset, ask_again)
    alone = agent is None and wishes == Wishes()
    if not (alone if everything else not as_json):
        raise BadInput(
            "--list takes no agent and no wish." if everything else "Only the list is also for programs.",
            means="Nothing was changed.",
            remedy="hotdesk use --list, or hotdesk use --list --json.",
        )
    if everything:
        from deployments.use_list import run_list

        print(run_list(as_json=as_json))
        return
    for said in run_use(agent, wishes):
        print(said, flush=True)


def new_agent(
    name: Annotated[str, typer.Argument(help="Such as press-review.")],
    kind: Annotated[
        str, typer.Option(help="prompt: an entry in prefect.yaml; steps: a flow and a test too.")
    ] = "prompt",
    source: Annotated[str | None, typer.Option(help="What it reads: a file, a folder or an http(s) address.")] = None,
    about: Annotated[str | None, typer.Option(help="What it does, in one sentence.")] = None,
    question: Annotated[str | None, typer.Option(help="What is asked about each item.")] = None,
    answer: Annotated[
        list[str] | None, typer.Option(help="A possible answer, or label=words; give it twice or more.")
    ] = None,
    field: Annotated[list[str] | None, typer.Option(help="A value to take out, as name=words.")] = None,
) -> None:
    """Write a new agent into prefect.yaml, checked.

    With --kind steps also its flow and a test of it.
    """
    from deployments.new_agent import Draft, run_new_agent

    draft = Draft(name, kind, source, about, question, tuple(answer or ()), tuple(field or ()))
    for said in run_new_agent(draft):
        print(said, flush=True)
