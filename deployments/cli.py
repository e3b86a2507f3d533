"""The command `hotdesk`: reads arguments, calls one function, says errors as a person can use them.

Everything heavy is imported inside the command that needs it, so that `--help` answers at once.
"""

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from deployments import cli_agents, cli_models
from governor.errors import HotdeskError


class SaysWhatToDo(TyperGroup):
    """Turns a HotdeskError into what happened, what it means and the remedy; exit status 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except HotdeskError as error:
            show_error(error)
            raise typer.Exit(1) from error


def show_error(error: HotdeskError) -> None:
    """One block on stderr, red on a terminal, no traceback."""
    head, mark, end = ("\033[1;31m", "\033[31m", "\033[0m") if sys.stderr.isatty() else ("", "", "")
    lines = [f"{head}{error.happened}{end}", error.means, f"-> {error.remedy}"]
    print("\n".join(f"{mark}|{end} {line}" for line in lines if line.strip()), file=sys.stderr)


app = typer.Typer(
    cls=SaysWhatToDo,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Scheduled AI agents share one small GPU, politely.",
)
Port = Annotated[int | None, typer.Option(help="Port of the Prefect server (default: HOTDESK_PORT, else 4200).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command()
def up(
    once: Annotated[bool, typer.Option("--once", help="End after the first round, with a summary.")] = False,
    again: Annotated[bool, typer.Option("--round", help="Run the first round again.")] = False,
    tour: Annotated[bool, typer.Option(help="Show the four acts of the tour after the first round.")] = True,
    port: Port = None,
    profile: Annotated[str | None, typer.Option(help="Hardware profile (default: detected).")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A round of these kinds or agents only, such as triage,digest/news.")
    ] = None,
) -> None:
    """Start what is not running, show it live, stop it at Ctrl-C."""
    from deployments.up import Plan, run_up

    raise typer.Exit(run_up(Plan(once, again, tour, port, profile, tuple(only or ()))))


@app.command()
def tour(port: Port = None) -> None:
    """Show, on real processes: eviction, crash, skip, governor."""
    from deployments.up import run_tour_alone

    raise typer.Exit(run_tour_alone(port))


@app.command()
def down() -> None:
    """Stop all that `hotdesk up` started, engines included."""
    from deployments.down import run_down

    raise typer.Exit(run_down(print))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show desk, line, memory and results; needs no server.

    Reads the state folder and the process table only.
    """
    from deployments.status import as_json as to_json
    from deployments.status import snapshot, with_server

    look = with_server(snapshot(now=datetime.now(UTC)))
    if as_json:
        print(to_json(look))
        return
    from deployments.view import print_status

    print_status(look)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this machine: one row per check, with the remedy.

    Works offline. Exits 1 when a check failed.
    """
    from deployments.report import run_doctor

    raise typer.Exit(run_doctor(as_json=as_json))


@app.command()
def line(
    name: Annotated[str, typer.Argument(help="gpu or cpu.")] = "gpu",
    order: Annotated[str | None, typer.Option(help="fifo, affinity or deadline.")] = None,
    overtakes: Annotated[int | None, typer.Option(help="How often a ticket may be overtaken in its life.")] = None,
    never_after: Annotated[float | None, typer.Option(help="Seconds after which it is never overtaken.")] = None,
) -> None:
    """Show or choose the order in which a line is served."""
    from deployments.line_order import run_line

    print(run_line(name, order=order, overtakes=overtakes, never_after_seconds=never_after))


@app.command()
def pause(
    how_long: Annotated[
        str | None, typer.Option("--for", help="Such as 90s, 30m, 2h, 1h30m (default: no end).")
    ] = None,
    evict: Annotated[bool, typer.Option("--evict", help="Take the line's models out of memory too.")] = False,
    at_once: Annotated[bool, typer.Option("--now", help="End who sits there, too.")] = False,
    name: Annotated[str | None, typer.Option("--line", help="A line, or all (default: the GPU's).")] = None,
    why: Annotated[str | None, typer.Option(help="Told to whoever skips because of it.")] = None,
) -> None:
    """Keep agents off the GPU for a while; needs no server.

    Whoever sits stands up in its own time; nobody sits down after.
    """
    from deployments.pause import Wishes, run_pause

    for said in run_pause(Wishes(how_long, name, why, evict, at_once)):
        print(said, flush=True)


@app.command()
def resume(
    name: Annotated[str | None, typer.Option("--line", help="Only this line (default: every paused one).")] = None,
) -> None:
    """End a pause, whoever's it is."""
    from deployments.pause import run_resume

    for said in run_resume(name):
        print(said, flush=True)


@app.command()
def residents(
    pin: Annotated[str | None, typer.Option(help="Keep this model in memory, whoever needs the room.")] = None,
    unpin: Annotated[str | None, typer.Option(help="Let it be evicted again.")] = None,
    keep: Annotated[str | None, typer.Option(help="MODEL=SECONDS it may be idle, or MODEL=usual.")] = None,
    evict: Annotated[str | None, typer.Option(help="Evict this idle model now, or all.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be evicted; evict nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is in memory; pin, keep or evict a model."""
    from deployments.residents import Wishes, run_residents

    print(run_residents(Wishes(pin, unpin, keep, evict, dry_run), as_json=as_json))


app.add_typer(cli_models.models, name="model", help="Show which models this machine wants, and fetch them.")
cli_agents.register(app)


@app.command()
def env() -> None:
    """Print what a shell needs: eval "$(hotdesk env)"."""
    from deployments.environment import client_environment, shell_lines
    from governor.settings import prepare_home

    print("\n".join(shell_lines(client_environment(prepare_home()))))


@app.command()
def ask(
    text: Annotated[str, typer.Argument(help="What to ask; - reads standard input.")],
    kind: Annotated[str, typer.Option(help="classify, extract, summarise, write, translate, code, compare or embed.")],
    label: Annotated[list[str] | None, typer.Option(help="classify: a possible answer; give it twice or more.")] = None,
    patience: Annotated[float, typer.Option(help="Seconds to wait in line.", min=1)] = 120.0,
    privacy: Annotated[str | None, typer.Option(help="local-only (the default), no-training or public.")] = None,
    quality: Annotated[str | None, typer.Option(help="quick or good.")] = None,
) -> None:
    """Send one request to a model and say which, and why.

    The request goes through the router and the desk like any agent's.
    """
    from deployments.ask import run_ask

    prompt = sys.stdin.read() if text == "-" else text
    raise typer.Exit(
        run_ask(prompt, kind=kind, labels=label or [], patience_seconds=patience, privacy=privacy, quality=quality)
    )


@app.command()
def gains(
    kind: Annotated[str | None, typer.Option(help="Only this kind of work, such as classify.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how often each model's answers passed; or forget it."""
    from deployments.gains import run_gains

    print(run_gains(kind=kind, model=model, forget=reset, as_json=as_json))


@app.command()
def why(
    run: Annotated[str, typer.Argument(help="last, a run's id or its beginning, a run's name, or an agent.")] = "last",
    every: Annotated[bool, typer.Option("--all", help="Each request on its own.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say which models a run asked, and why those.

    Chosen and refused tiers, every attempt, waits and costs. Needs no server.
    """
    from deployments.why import run_why

    print(run_why(run, as_json=as_json, every=every))


@app.command()
def tiers(
    reopen: Annotated[str | None, typer.Option(help="Let agents call this closed tier again at once.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show cloud tiers: keys, allowances, what is closed and why.

    Shows no key. Needs no server, but only it knows keys in blocks.
    """
    from deployments.tiers import run_tiers

    print(run_tiers(reopen, as_json=as_json))


@app.command()
def bootstrap(port: Port = None) -> None:
    """Set up the Prefect server in use; safe to repeat.

    Limits, work pool, queues, blocks and every deployment of prefect.yaml.
    """
    from deployments.up import run_bootstrap

    run_bootstrap(port)


@app.command(hidden=True)
def fetch() -> None:
    """Fetch the weights of the embedded model into the state folder."""
    from deployments.report import run_fetch

    run_fetch()


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
