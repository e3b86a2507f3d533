"""The last rung on real processes: a model in use is ended, its agent survives, queues again and is answered."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from governor import pauses
from governor.actions.terminate import end_holders, terminate
from governor.processes import Life, identify, life
from governor.resident_rows import in_use
from governor.settings import Home
from governor.state.models import Slot, Ticket
from governor.state.residents import Resident
from governor.state.sessions import reading

# One long answer of the small model, at the line `cpu`; what came of it goes to stdout.
AGENT = """
import json, logging, sys
logging.getLogger("hotdesk").setLevel(logging.INFO)
logging.getLogger("hotdesk").addHandler(logging.StreamHandler(sys.stderr))
from governor.asking import ask_all
from governor.batch import Mandate
from governor.errors import HotdeskError
from governor.policy.requests import ModelRequest
request = ModelRequest(kind="write", quality="quick", prompt="Tell a long story of a lighthouse.", max_tokens=100)
try:
    asked = ask_all([request], Mandate("digest/story", float(sys.argv[1])))
    print(json.dumps({"verified": asked.answers[0].verified, "tokens": asked.answers[0].tokens_out}))
except HotdeskError as error:
    print(json.dumps({"error": type(error).__name__, "said": error.happened}))
"""


@contextmanager
def agent(patience_seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", AGENT, str(patience_seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def wait_for(what: Callable[[], Resident | None], seconds: float = 60.0) -> Resident:
    deadline = time.monotonic() + seconds
    while (found := what()) is None:
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
    return found


def model_in_use() -> Resident | None:
    """The model that somebody is talking to: in use, and its process at work."""
    with reading() as session:
        rows = session.scalars(select(Resident).where(Resident.state == "resident", Resident.line == "cpu")).all()
        return next((row for row in rows if in_use(session, row) and not _quiet(row)), None)


def _quiet(row: Resident) -> bool:
    from governor.engines import engine
    from governor.resident_rows import as_loaded

    return engine(row.engine).quiet(as_loaded(row), row.model)


def fence() -> int:
    with reading() as session:
        return session.get_one(Slot, ("cpu", 0)).fence


def test_an_agent_whose_model_was_ended_queues_again_and_is_answered(fleet_server: Home):
    with agent(120) as process:
        row = wait_for(model_in_use)
        held_under = fence()
        done = terminate(row.id, "a test of the last rung")
        assert done.freed, done.said
        assert "digest/story" in done.said
        assert row.identity is not None and life(row.identity) is Life.DEAD
        out, log = process.communicate(timeout=120)
    assert json.loads(out) == {"verified": True, "tokens": json.loads(out)["tokens"]}, log
    assert "event=queued_again" in log
    assert fence() >= held_under + 2  # one for the revocation, one for the new seat
    assert terminate(row.id, "again").said == "nobody uses it any more"


def test_one_that_may_not_come_back_skips_with_the_reason(fleet_server: Home):
    now = datetime.now(UTC)
    with agent(120) as process:
        wait_for(model_in_use)
        pauses.pause(["cpu", "gpu"], by="person", reason="a game", until=now + timedelta(hours=2), now=now)
        try:
            [said] = end_holders("cpu", "a person wants the card now")
            out, log = process.communicate(timeout=60)
        finally:
            pauses.resume(["cpu", "gpu"], by="person", now=datetime.now(UTC))
    assert "digest/story" in said
    ended = json.loads(out)
    assert ended["error"] == "LeftLine", log
    assert "a game" in ended["said"]
    with reading() as session:
        last = session.scalars(select(Ticket).where(Ticket.line == "cpu").order_by(Ticket.id.desc()).limit(1)).one()
    assert (last.agent, last.state) == ("digest/story", "left")
    assert identify().pid != last.pid
