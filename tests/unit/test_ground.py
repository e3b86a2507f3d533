"""What a person is told of the ground: the processes that must live, each with its id."""

import io
from datetime import UTC, datetime

from rich.console import Console

from deployments.ground import say_started
from deployments.screen import Screen
from governor.state.models import Service


def test_the_worker_is_named_with_its_process_and_nothing_is_said_without_one() -> None:
    said = io.StringIO()
    show = Screen(Console(file=said))
    say_started(show, [])
    assert said.getvalue() == ""
    say_started(show, [Service(name="worker", pid=4711, started_at=datetime(2026, 11, 25, tzinfo=UTC))])
    assert said.getvalue().splitlines()[0].endswith(" s] worker (pid 4711)")
