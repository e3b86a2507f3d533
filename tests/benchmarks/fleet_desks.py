"""The two models of `fleet_routing` at their desks: real engine processes, and seats that nobody waits for.

The models are small and take turns anyway, so no line and no Prefect server stands between: what a line costs is
measured by `handoff`. Everything a request meets from `ask_all` on is production's own.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from governor import desk as desk_module
from governor import inference, profile
from governor.desk import Seat
from governor.engines import engine
from governor.line import Grant
from governor.policy.facts import ModelSpec, Profile
from governor.state.models import Ticket
from governor.state.sessions import transaction
from governor.tier_models import threads
from tests.benchmarks.fleet_said import Said
from tests.benchmarks.fleet_samples import in_place_of
from tests.benchmarks.fleet_weights import LARGER, larger, small

ENGINE = "embedded"
CONTEXT_TOKENS = 2048
LOAD_SECONDS = 120.0
SMALL_BILLION = 0.135


class FreeTurn:
    """FAKE: a seat that was had at once and is never lost."""

    is_mine = True

    def __init__(self, line: str) -> None:
        self.line = type("Line", (), {"name": line})()
        self.grant = Grant(0, 1, "lease")

    def is_current(self) -> bool:
        return True


def spec(tier: str, file: str, parameters_billion: float) -> ModelSpec:
    """A weights file as the embedded engine runs it: `tiny` behind the line `cpu`, `heavy` behind `gpu`."""
    return ModelSpec(
        engine=ENGINE,
        model=file.removesuffix(".gguf"),
        source=file,
        line="cpu" if tier == "tiny" else "gpu",
        context_tokens=CONTEXT_TOKENS,
        threads=threads(os.cpu_count() or 1),
        parameters_billion=parameters_billion,
        expected_mib=300 + 700 * parameters_billion,
    )


def models(wanted: str, weights: Path) -> dict[str, ModelSpec]:
    """The shipped model and, where `wanted` names one that can be had, the larger one, in this folder; by tier."""
    tiers = {"tiny": spec("tiny", small(weights).name, SMALL_BILLION)}
    pieces = LARGER.get(wanted)
    if pieces and (file := larger(pieces, weights)) is not None:
        tiers["heavy"] = spec("heavy", file.name, pieces.parameters_billion)
    return tiers


def profile_of(tiers: dict[str, ModelSpec]) -> Profile:
    """A machine that has these models and nothing else."""
    return Profile(
        name="fleet-routing",
        tiers=tiers,
        slots={spec.line: 1 for spec in tiers.values()},
        worker_limit=1,
        keep_alive_seconds=600,
        memory_budget_mib=4096,
        first_round_items=3,
        first_round_tokens=64,
    )


@contextmanager
def seated(tiers: dict[str, ModelSpec], said: Said) -> Iterator[dict[str, dict[str, Any]]]:
    """All models resident and all seats taken; what litellm is told of each, by tier. Calls are answered by `said`."""
    with ExitStack() as stack:
        stack.enter_context(in_place_of(profile, "detect", lambda: profile_of(tiers)))
        profile.current_profile.cache_clear()
        stack.callback(profile.current_profile.cache_clear)
        stack.enter_context(in_place_of(inference, "complete", said.complete))
        told = {}
        for tier in sorted(tiers):  # heavy first: a seat of it may ask for the other beside it
            one = tiers[tier]
            loaded = engine(ENGINE).load(one, deadline_seconds=LOAD_SECONDS)
            stack.callback(engine(ENGINE).unload, loaded, one.model)
            turn: Any = FreeTurn(one.line)
            seat = Seat(turn, turn.grant, 0.0, one, one, loaded)
            token = desk_module._seats.set((*desk_module._seats.get(), seat))
            stack.callback(desk_module._seats.reset, token)
            told[tier] = engine(ENGINE).litellm_parameters(one, loaded)
        yield told


def remember_seats(taken: Sequence[tuple[ModelSpec, float]], agent: str) -> None:
    """Seats of so many seconds as the line would have them on record: the router expects the next one to be alike."""
    now = datetime.now(UTC)
    with transaction() as session:
        for model, seconds in taken:
            ticket = Ticket(uuid=uuid4().hex, line=model.line, state="done", agent=agent, model=model.model)
            ticket.patience_seconds, ticket.since_s, ticket.taken_at = 0.0, time.monotonic(), now
            ticket.seated_at, ticket.ended_at = now - timedelta(seconds=seconds), now
            session.add(ticket)
