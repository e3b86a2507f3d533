"""Where `hotdesk up` shows itself: a live view on a terminal, plain lines into a pipe or a log.

Both have the same two words: `say` for a step that happened, `show` for the state as it is now.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console, RenderableType
from rich.live import Live

from deployments.status import Snapshot, snapshot
from deployments.view import events, render

# Twice a second is smooth for a person; one look costs a few milliseconds of SQLite and /proc.
LOOK_EVERY_SECONDS = 0.5
# A log has no width of its own; most viewers show this much of a table without wrapping it.
LOG_WIDTH = 120


class Screen:
    """One line per event, with the seconds since the start, so that logs of a build are readable."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, width=LOG_WIDTH)
        self.started, self.started_at = time.monotonic(), datetime.now(UTC)
        self._before: Snapshot | None = None

    def say(self, text: str) -> None:
        """Print `text` after the seconds since the start."""
        seconds = time.monotonic() - self.started
        self.console.print(f"[{seconds:7.1f} s] {text}", markup=False, highlight=False, soft_wrap=True)

    def draw(self, what: RenderableType) -> None:
        """Print a table as it is."""
        self.console.print(what)

    def show(self) -> None:
        """Print what happened since the last look; the first look is only remembered."""
        look = snapshot(now=datetime.now(UTC))
        if self._before is not None:
            for line in events(self._before, look):
                self.say(line)
        self._before = look

    @contextmanager
    def live(self, footer: str = "") -> Iterator[None]:
        """Nothing is drawn: the events are the view."""
        if footer:
            self.say(footer)
        self.show()
        yield


class LiveScreen(Screen):
    """Panels that stay in place, with the steps scrolling by above them."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console or Console(highlight=False))
        self._live: Live | None = None
        self._footer = ""

    def show(self) -> None:
        """Redraw the panels; outside `live` do nothing."""
        if self._live is not None:
            self._live.update(render(snapshot(now=datetime.now(UTC)), footer=self._footer), refresh=True)

    @contextmanager
    def live(self, footer: str = "") -> Iterator[None]:
        """Show the panels until the block ends; the last state stays on the screen."""
        self._footer = footer
        with Live(console=self.console, auto_refresh=False, vertical_overflow="crop") as self._live:
            try:
                self.show()
                yield
            finally:
                self.show()
                self._live = None


def screen() -> Screen:
    """The live view on a terminal, else plain lines."""
    console = Console(highlight=False)
    return LiveScreen(console) if console.is_terminal else Screen()
