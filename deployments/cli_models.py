"""The commands `hotdesk model ...`: which models this machine wants, and how they come."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
models = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@models.command("list")
def model_list(as_json: AsJson = False) -> None:
    """Show what each tier may be served by, and what is here.

    The best first, each with its size and licence.
    """
    from deployments.model import run_list

    print(run_list(as_json=as_json))


@models.command("pull")
def model_pull(
    name: Annotated[str | None, typer.Argument(help="As `hotdesk model list` shows it.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The best model of every tier of this profile.")] = False,
) -> None:
    """Fetch a model and check what came."""
    from deployments.model import run_pull

    run_pull(name, everything=everything, say=lambda said: print(said, flush=True))
