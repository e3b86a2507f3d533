"""What is kept of answers that were judged, on a real database (invariant 41)."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from governor import learning
from governor.policy.facts import Kind
from governor.policy.gains import Tally
from governor.policy.learner import LEAST_EXAMPLES
from governor.policy.requests import ModelRequest
from governor.settings import Home
from governor.state.sessions import reading, transaction
from governor.state.tiers import Learned

NOW = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)


def asked(prompt: str = "Which label?", kind: Kind = Kind.CLASSIFY) -> ModelRequest:
    return ModelRequest(kind=kind, prompt=prompt, choices=("a", "b"))


def seen(request: ModelRequest, agent: str, model: str, *outcomes: bool) -> None:
    with transaction() as session:
        for outcome in outcomes:
            learning.record(session, request, agent, model, outcome, NOW)


def test_counts_are_kept_by_agent_and_summed_by_kind(hotdesk_home: Home):
    seen(asked(), "triage/inbox", "tiny", True, True, False)
    seen(asked(), "triage/issues", "tiny", True)
    seen(asked(kind=Kind.EXTRACT), "triage/inbox", "tiny", False)
    known = learning.gains_for(asked(), "triage/inbox", ["tiny", "heavy"])
    assert known.of_agent == {"tiny": Tally(tried=3, verified=2)}
    assert known.of_kind == {"tiny": Tally(tried=4, verified=3)}
    assert known.predicted == {}


def test_no_word_of_a_prompt_is_kept(hotdesk_home: Home):
    seen(asked("the canary sings at midnight"), "a/b", "tiny", True, False)
    for path in hotdesk_home.root.glob("hotdesk.db*"):
        assert b"canary" not in path.read_bytes()


def test_a_prompt_is_read_once_reading_has_proven_better_than_counting(hotdesk_home: Home):
    """Every prompt with `integral` fails, every other passes: half of them, which no count can tell apart."""
    hard, easy = asked("Solve the integral of this"), asked("Greet the visitor kindly")
    assert learning.gains_for(hard, "a/b", ["tiny"]).predicted == {}
    with transaction() as session:
        for _ in range(LEAST_EXAMPLES):
            learning.record(session, hard, "a/b", "tiny", False, NOW)
            learning.record(session, easy, "a/b", "tiny", True, NOW)
    read = [learning.gains_for(request, "a/b", ["tiny", "other"]).predicted for request in (hard, easy)]
    assert read[0].keys() == read[1].keys() == {"tiny"}
    assert read[0]["tiny"] < 0.2 and read[1]["tiny"] > 0.8


def test_weights_of_another_release_are_begun_anew(hotdesk_home: Home):
    seen(asked(), "a/b", "tiny", True)
    with transaction() as session:
        session.get_one(Learned, ("classify", "tiny")).weights = b"old"
    seen(asked(), "a/b", "tiny", True)
    with reading() as session:
        assert session.get_one(Learned, ("classify", "tiny")).examples == 1


@pytest.mark.parametrize(
    ("kind", "model", "left"),
    [
        (None, None, []),
        ("classify", None, ["extract"]),
        (None, "tiny", []),
        ("classify", "heavy", ["classify", "extract"]),
    ],
)
def test_what_was_learned_can_be_forgotten(hotdesk_home: Home, kind: str | None, model: str | None, left: list[str]):
    seen(asked(), "a/b", "tiny", True)
    seen(asked(kind=Kind.EXTRACT), "a/b", "tiny", True)
    learning.reset(kind, model)
    with reading() as session:
        assert sorted(session.scalars(select(Learned.kind)).all()) == left
