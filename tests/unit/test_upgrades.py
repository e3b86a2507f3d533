"""A state folder of every earlier release still opens, with everything in it, and goes on working."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from deployments.admission import Admissions
from governor import learning, ledger, succession, tier_states
from governor.footprints import fittings
from governor.line import Errand, Line
from governor.pauses import in_force
from governor.policy.facts import Kind, ModelSpec, Rung
from governor.policy.gains import Tally
from governor.policy.requests import ModelRequest
from governor.policy.rules import Rules
from governor.policy.turns import Act
from governor.presence import judge
from governor.processes import identify
from governor.settings import Home
from governor.standing import known_rules, standing
from governor.state.agents import AgentUse, Remembered
from governor.state.migrations import MIGRATIONS
from governor.state.models import AgentRun, Decision, Slot, Ticket
from governor.state.residents import Keeping
from governor.state.sessions import database, reading, recall, store
from governor.tick import last_tick
from governor.tier_catalogue import catalogue
from governor.unloading import sweep

FIXTURES = Path(__file__).parents[1] / "fixtures"
RELEASES = sorted(path.name for path in FIXTURES.glob("state-*"))
TABLE = "SELECT name, type, \"notnull\", pk FROM pragma_table_info('{}') ORDER BY name"
NOW = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)


def columns(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with sqlite3.connect(path) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'index')")]
        return {name: db.execute(TABLE.format(name)).fetchall() for name in names if not name.startswith("sqlite_")}


@pytest.mark.parametrize("release", RELEASES)
def test_the_folder_of_an_earlier_release_opens_and_its_line_goes_on(release: str, hotdesk_home: Home, tmp_path: Path):
    hotdesk_home.database.unlink()
    with sqlite3.connect(hotdesk_home.database) as old:
        old.executescript((FIXTURES / release / "hotdesk.sql").read_text())
    database()
    new = tmp_path / "new.db"
    database(new)
    assert columns(hotdesk_home.database) == columns(new)
    with sqlite3.connect(hotdesk_home.database) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert recall("profile") == "cpu-only"
    with reading() as session:
        assert session.scalars(select(AgentRun.agent)).all() == ["digest/news"]
        fence = session.get_one(Slot, ("gpu", 0)).fence
    line = Line("gpu", store(), judge, identify)
    mine = line.take(Errand("gpu", "digest/new", "m", 60.0), now=NOW, clock_s=1e6)
    assert line.look(mine.id, now=NOW, clock_s=1e6).step.act is Act.REAP  # its holder was of another boot
    succession.reap(line, 0, now=NOW, clock_s=1e6)
    grant = succession.accept(line, mine.id, 0, budget_seconds=60, now=NOW, clock_s=1e6)
    assert grant is not None and grant.fence == fence + 1
    with reading() as session:
        assert session.get_one(Ticket, mine.id).id > 6


def test_a_living_process_of_the_release_before_is_not_revoked(hotdesk_home: Home):
    hotdesk_home.database.unlink()
    with sqlite3.connect(hotdesk_home.database) as old:
        old.executescript((FIXTURES / "state-0.1.0" / "hotdesk.sql").read_text())
    line = Line("cpu", store(), judge, identify)
    me = identify()
    with sqlite3.connect(hotdesk_home.database) as db:  # 0.1.0 sits down: it writes none of the new columns
        db.execute(
            "INSERT INTO tickets (uuid, line, state, agent, model, patience_seconds, taken_at) VALUES"
            " ('old', 'cpu', 'seated', 'a/old', 'm', 60, '2026-11-24 07:00:00')"
        )
        ticket_id = db.execute("SELECT max(id) FROM tickets").fetchone()[0]
        db.execute(
            "UPDATE slots SET state = 'held', fence = fence + 1, lease_id = 'l', ticket_id = ?, boot_id = ?,"
            " pid_namespace = ?, pid = ?, start_ticks = ? WHERE line = 'cpu'",
            (ticket_id, me.boot_id, me.pid_namespace, me.pid, me.start_ticks),
        )
    mine = line.take(Errand("cpu", "digest/new", "m", 60.0), now=NOW, clock_s=1e6)
    assert line.look(mine.id, now=NOW, clock_s=1e6).step.act is Act.WAIT
    assert succession.revoke(line, 0, clock_s=1e6) is None


def test_what_was_learned_and_said_about_models_in_0_3_0_still_counts(hotdesk_home: Home):
    hotdesk_home.database.unlink()
    with sqlite3.connect(hotdesk_home.database) as old:
        old.executescript((FIXTURES / "state-0.3.0" / "hotdesk.sql").read_text())
    spec = ModelSpec(
        engine="embedded",
        model="smollm2-135m",
        source="none.gguf",
        line="gpu",
        context_tokens=4096,
        parameters_billion=0.135,
        expected_mib=330,
    )
    known = fittings(spec)[0].footprint
    assert (known.source, round(known.mib, 1)) == ("learned", 238.3)
    assert sweep(now=NOW) == 2  # its engine was of another boot, and so was what gave nothing back
    with reading() as session:
        assert session.get_one(Keeping, "smollm2-135m").pinned


def test_the_ladder_the_rules_and_a_pause_of_0_4_0_stand(hotdesk_home: Home):
    hotdesk_home.database.unlink()
    with sqlite3.connect(hotdesk_home.database) as old:
        old.executescript((FIXTURES / "state-0.4.0" / "hotdesk.sql").read_text())
    now = datetime(2026, 11, 25, 11, 0, tzinfo=UTC)
    assert (standing().rung, standing().causes) == (Rung.EVICT_IDLE, {"swap_mib_per_s": ""})
    assert known_rules() == Rules()
    with reading() as session:
        [pause] = in_force(session, now)
    assert (pause.line, pause.by, pause.reason) == ("cpu", "person", "a game")
    last = last_tick()
    assert last is not None and last.by == "sentinel"


def test_what_is_spent_closed_and_learned_in_0_5_0_still_counts(hotdesk_home: Home):
    hotdesk_home.database.unlink()
    with sqlite3.connect(hotdesk_home.database) as old:
        old.executescript((FIXTURES / "state-0.5.0" / "hotdesk.sql").read_text())
    now = datetime(2026, 11, 25, 11, 0, tzinfo=UTC)
    groq = catalogue()["groq/gpt-oss-120b"]
    used = {
        (left.allowance.unit, left.allowance.span.value): left.used for left in ledger.lefts([groq], now)[groq.name]
    }
    assert (used["requests", "day"], used["tokens", "day"]) == (2, 2820)  # a dead process's call counts, a returned not
    assert tier_states.closed(now)["gemini/gemini-3.6-flash"].closed_for == "quota"
    request = ModelRequest(kind=Kind.CLASSIFY, prompt="x")
    known = learning.gains_for(request, "triage/inbox", ["smollm2-135m"])
    assert known.of_agent["smollm2-135m"] == Tally(tried=40, verified=37)
    with reading() as session:
        calls = session.scalars(
            select(Decision).where(Decision.request_id == "f" * 32).order_by(Decision.attempt)
        ).all()
    assert [(call.tier, call.privacy) for call in calls] == [("tiny", "no_training"), (groq.name, "no_training")]


def test_what_agents_were_answered_and_told_in_0_6_0_is_kept(hotdesk_home: Home):
    hotdesk_home.database.unlink()
    with sqlite3.connect(hotdesk_home.database) as old:
        old.executescript((FIXTURES / "state-0.6.0" / "hotdesk.sql").read_text())
    with reading() as session:
        kept = session.get_one(Remembered, ("triage/inbox", "a" * 64))
        failed = session.get_one(Remembered, ("digest/news", "b" * 64))
        use = session.get_one(AgentUse, "triage/inbox")
    assert (kept.text, kept.verified, failed.verified, failed.tries) == ("reply", True, False, 2)
    assert use.parameters == {"source": "/srv/mail/inbox"}


def test_what_runs_take_as_learned_in_0_7_0_still_counts(hotdesk_home: Home):
    hotdesk_home.database.unlink()
    with sqlite3.connect(hotdesk_home.database) as old:
        old.executescript((FIXTURES / "state-0.7.0" / "hotdesk.sql").read_text())
    room = Admissions({"agents": 14}, free_mib=lambda: 2000.0).room(now=datetime(2026, 11, 26, tzinfo=UTC))
    assert (room.run_mib, room.free_mib) == (71.5, 2000.0)
