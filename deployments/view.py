"""How a snapshot looks: panels for a terminal, sentences for `status`, one line per event for a log.

Draws only what `deployments.status` found; decides nothing.
"""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deployments.status import InMemory, Result, Sitting, Snapshot, Waiting, short_path
from governor.policy.pausing import in_words

STATE_STYLE = {"written": "green", "could_not": "yellow", "skipped": "cyan", "failed": "red", "running": "blue"}
STATE_WORDS = {"written": "done", "could_not": "could-not", "skipped": "skipped", "failed": "failed"}
SHOWN_IN_LINE = 6


def render(look: Snapshot, *, title: str = "hotdesk", footer: str = "") -> RenderableType:
    """The live view: desk, line, memory, counters and the latest outputs."""
    parts: list[RenderableType] = [
        Panel(_desk(look.desks), title="at the desk", title_align="left"),
        Panel(_line(look.waiting), title="in line", title_align="left"),
        Panel(_memory(look.in_memory), title="in memory", title_align="left"),
        Panel(_outputs(look.latest), title=_counters(look), title_align="left"),
    ]
    head = Text.assemble((title, "bold"), f"  {_headline(look)}")
    notes = [Text(note, style="bold red") for note in look.down]
    notes += [_one_line(note) for note in (*_pauses(look), *_held(look))]
    end = [Text(footer, style="dim")] if footer else []
    return Group(head, *notes, *parts, *end)


def _headline(look: Snapshot) -> str:
    running = ", ".join(service.name for service in look.services if service.alive) or "nothing"
    clock = look.at.astimezone().strftime("%H:%M:%S")
    return f"{clock}  profile {look.profile or '-'}  governor: {look.rung}  running: {running}"


def _pauses(look: Snapshot) -> list[str]:
    """Each pause in one line, with who ends it."""
    return [f"{in_words(pause, look.at)}; `hotdesk resume` ends that" for pause in look.pauses]


def _held(look: Snapshot) -> list[str]:
    """Runs that are due and not begun: what they wait for."""
    return [f"not begun yet: {look.held}"] if look.held else []


def _one_line(text: str) -> Text:
    return Text(text, style="bold yellow", no_wrap=True, overflow="ellipsis")


def _rows(*widths: int | None) -> Table:
    """A borderless table that cuts long cells instead of wrapping them."""
    table = Table.grid(padding=(0, 2), expand=True)
    for width in widths:
        table.add_column(width=width, ratio=None if width else 1, no_wrap=True, overflow="ellipsis")
    return table


def _desk(desks: Sequence[Sitting]) -> RenderableType:
    if not desks:
        return Text("nobody has sat here yet", style="dim")
    table = _rows(5, None, 11, 8)
    for seat in desks:
        if seat.agent is None:
            table.add_row(seat.line, "[dim]free[/dim]", f"fence {seat.fence}", "")
            continue
        dead = "" if seat.alive else " [red](its process died)[/red]"
        who = f"{escape(seat.agent)} [dim]{seat.state}, pid {seat.pid}[/dim]{dead}"
        table.add_row(seat.line, who, f"fence {seat.fence}", f"{seat.seconds:.0f} s")
    return table


def _line(waiting: Sequence[Waiting]) -> RenderableType:
    if not waiting:
        return Text("nobody waits", style="dim")
    table = _rows(5, 4, None, 20)
    for ticket in waiting[:SHOWN_IN_LINE]:
        place = str(ticket.place) if ticket.alive else "dead"
        patience = f"{ticket.seconds:.0f} s of {ticket.patience_seconds:.0f} s"
        table.add_row(ticket.line, place, escape(ticket.agent), patience)
    if len(waiting) > SHOWN_IN_LINE:
        table.add_row("", "", f"[dim]and {len(waiting) - SHOWN_IN_LINE} more[/dim]", "")
    return table


def _memory(residents: Sequence[InMemory]) -> RenderableType:
    if not residents:
        return Text("no model", style="dim")
    table = _rows(5, None, 12, 9, 12)
    for model in residents:
        size = f"{model.memory_mib:.0f} MiB" if model.memory_mib is not None else "-"
        pid = f"pid {model.pid}" if model.pid else model.engine
        name = f"{escape(model.model)} [dim]{model.context_tokens} tokens[/dim]"
        table.add_row(model.line, name, pid, size, _use(model))
    return table


def _use(model: InMemory) -> str:
    if model.busy:
        return "in use"
    return f"idle {model.idle_seconds:.0f} s" if model.state == "resident" else model.state


def _counters(look: Snapshot) -> str:
    shown = (f"{word} {look.counts[state]}" for state, word in STATE_WORDS.items())
    return "today: " + "  ".join(shown)


def _outputs(results: Sequence[Result]) -> RenderableType:
    if not results:
        return Text("no results yet", style="dim")
    table = _rows(8, 20, None)
    for result in results:
        style = STATE_STYLE[result.state]
        clock = result.at.astimezone().strftime("%H:%M:%S")
        table.add_row(clock, f"[{style}]{escape(result.agent)}[/{style}]", escape(outcome_text(result)))
    return table


def outcome_text(result: Result) -> str:
    """What came of a run, in one line: the output's path, or the reason."""
    if result.state == "written" and result.output_path:
        return short_path(result.output_path)
    word = STATE_WORDS.get(result.state, result.state)
    reason = " ".join((result.message or "").split())
    return f"{word}: {reason}" if reason else word


def events(before: Snapshot | None, look: Snapshot) -> list[str]:
    """What happened between two looks, one plain line each, oldest first: for logs and pipes."""
    seen = {_key(result) for result in before.latest} if before else set()
    lines = [f"down: {note}" for note in look.down if before is None or note not in before.down]
    for result in reversed(look.latest):
        if _key(result) not in seen:
            lines.append(_event(result))
    if before is not None and before.rung != look.rung:
        lines.append(f"governor: {before.rung} -> {look.rung}")
    was_paused = {(pause.line, pause.by) for pause in before.pauses} if before else set()
    now_paused = {(pause.line, pause.by) for pause in look.pauses}
    lines += [in_words(pause, look.at) for pause in look.pauses if (pause.line, pause.by) not in was_paused]
    lines += [f"the pause of the {line} line by the {by} is over" for line, by in sorted(was_paused - now_paused)]
    return lines


def _key(result: Result) -> tuple[str, str, datetime]:
    return result.agent, result.state, result.at


def _event(result: Result) -> str:
    if result.state == "running":
        return f"{result.agent} started"
    if result.state == "written":
        return f"{result.agent} wrote {result.output_path}"
    return f"{result.agent} {outcome_text(result)}"


def sentences(look: Snapshot) -> list[str]:
    """`hotdesk status` without a terminal: one fact per line."""
    lines = [f"state folder {look.home}", _headline(look), *(f"down: {note}" for note in look.down)]
    lines += [*_pauses(look), *_held(look)]
    for seat in look.desks:
        holder = f"{seat.agent} (pid {seat.pid}, {seat.seconds:.0f} s)" if seat.agent else "free"
        died = "" if seat.alive else "; its process died, the next in line takes over"
        lines.append(f"desk {seat.line}: {holder}, fence {seat.fence}{died}")
    for ticket in look.waiting:
        place = f"place {ticket.place}" if ticket.alive else "dead"
        lines.append(
            f"line {ticket.line}: {place} {ticket.agent}, {ticket.seconds:.0f} s of {ticket.patience_seconds:.0f} s"
        )
    for model in look.in_memory:
        size = f"{model.memory_mib:.0f} MiB" if model.memory_mib is not None else "size unknown"
        lines.append(f"in memory: {model.model} at {model.context_tokens} tokens, {size}, {_use(model)}")
    lines.append(_counters(look))
    lines += [f"  {result.at.astimezone():%H:%M:%S} {result.agent}: {outcome_text(result)}" for result in look.latest]
    return lines


def print_status(look: Snapshot) -> None:
    """`hotdesk status`: the panels on a terminal, sentences into a pipe."""
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(render(look))
        return
    for line in sentences(look):
        print(line)
