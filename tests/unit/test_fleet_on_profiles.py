"""The same fleet on every machine: whatever its agents ask for has a route on each profile, and the route is whole."""

import importlib
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from blocks.agent import CouldNot
from blocks.reading.items import Item
from deployments.fleet import Entry, read_fleet
from governor.answers import Answer
from governor.machine import Machine
from governor.model_catalogue import catalogue
from governor.policy.facts import Kind, Profile
from governor.policy.requests import ModelRequest, Privacy, Route, stricter
from governor.policy.routing import NO_TIER, RoutingFacts, choose
from governor.policy.tokens import needed_tokens
from governor.profile import detect

AGENTS = [entry for entry in read_fleet() if "agent" in entry.tags]
NAMES = list(catalogue().profiles)
TAGS = tuple(model.ollama for model in catalogue().models.values() if model.ollama)
FILES = tuple(model.file for model in catalogue().models.values())
THERE: dict[str, dict[str, Any]] = {
    "no models": {},
    "ollama with all": {"tags": TAGS},
    "ollama without any": {"tags": ()},
    "files, no llama-server": {"files": FILES},
    "files": {"files": FILES, "llama_server": True},
}
MACHINES = list(product(NAMES, THERE))
EARLY = datetime(2026, 11, 25, 5, 0, tzinfo=UTC)
NOBODY = Answer("", None, False, ["not asked"], tier="none", model="none", demo=True, reason="")


class FakeRun:
    """A FAKE of an agent's run: it keeps what the flow asks for, and nobody answers it."""

    agent, state, folder, day = "fake", None, Path("/nowhere"), "2026-11-25"

    def __init__(self) -> None:
        self.asked: list[ModelRequest] = []

    def items(self, wanted: int) -> int:
        return wanted

    def tokens(self, wanted: int) -> int:
        return wanted

    def take(self, items: Sequence[Item]) -> list[Item]:
        return list(items)

    def saw(self, name: str, digest: str, *, text: str = "") -> None:
        """Nobody reads it."""

    def ask_all(self, requests: Sequence[ModelRequest]) -> list[Answer]:
        self.asked += requests
        return [NOBODY for _ in requests]

    def write(self, title: str, markdown: str, *, files: Any = None, alarm: str = "") -> None:
        """Nobody reads it."""


@cache
def asked_by(function: str, name: str) -> tuple[ModelRequest, ...]:
    """What the agent asks for, as its flow makes it of its sample, with what its run says on top."""
    entry = next(entry for entry in AGENTS if (entry.function, entry.name) == (function, name))
    flow = importlib.import_module(f"flows.{function}")
    told = inspect.signature(getattr(flow, function).fn).parameters["parameters"].annotation
    parameters = told(**entry.parameters["parameters"])
    run = FakeRun()

    @contextmanager
    def agent(_: Any) -> Iterator[FakeRun]:
        yield run

    with pytest.MonkeyPatch.context() as patch, suppress(CouldNot):
        patch.setattr(flow, "agent", agent)
        getattr(flow, function).fn(parameters)
    filled = {"quality": parameters.quality, "due_at": parameters.due_at(EARLY)}
    return tuple(
        request.model_copy(update=filled | {"privacy": stricter(request.privacy, parameters.privacy)})
        for request in run.asked
    )


def profile(name: str, there: str, *, on_mains: bool = True) -> Profile:
    """On the smallest machine that gets it; one without a card is a laptop of 8 GiB."""
    needs = catalogue().profiles[name].needs
    found = THERE[there]
    return detect(
        Machine(
            vram_mib=needs.vram_mib, memory_mib=8192, cores=4, cards=max(1, needs.cards), on_mains=on_mains, **found
        )
    )


def check_whole(route: Route, request: ModelRequest, on: Profile) -> None:
    """Every tier is a candidate or refused, each with its reason, and every candidate fits."""
    named = [*(c.tier for c in route.candidates), *(r.tier for r in route.refusals)]
    assert sorted(named) == sorted([*on.tiers, NO_TIER])
    assert all(part.reason.strip() for part in (*route.candidates, *route.refusals))
    for candidate in route.candidates:
        spec = on.tiers[candidate.tier]
        assert candidate.spec == spec
        assert spec.line in on.slots
        assert spec.expected_mib <= on.memory_budget_mib
        assert needed_tokens(request) <= spec.context_tokens
        assert (request.kind is Kind.EMBED) == spec.embeds


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROFILE", "HEAVY", "CADENCE", "ROUND_ITEMS", "POWER"):
        monkeypatch.delenv(f"HOTDESK_{name}", raising=False)


@pytest.mark.parametrize("entry", AGENTS, ids=lambda entry: f"{entry.function}/{entry.name}")
def test_an_agent_asks_for_something_and_stays_on_this_machine_unless_it_says_otherwise(entry: Entry):
    asked = asked_by(entry.function, entry.name)
    assert asked
    assert {request.allowed for request in asked} == {Privacy.LOCAL_ONLY}


@pytest.mark.parametrize(("name", "there"), MACHINES)
def test_everything_the_fleet_asks_for_has_a_route_on_every_profile(name: str, there: str):
    on = profile(name, there)
    assert on.name == name
    for entry in AGENTS:
        for request in asked_by(entry.function, entry.name):
            route = choose(request, RoutingFacts(profile=on, now=EARLY))
            assert route.candidates, route.refusals
            check_whole(route, request, on)


@pytest.mark.parametrize(("name", "there"), MACHINES)
def test_a_route_is_whole_for_every_kind_of_work(name: str, there: str):
    """Also for those that no sample agent does; where nothing makes vectors, everybody says so."""
    on = profile(name, there)
    for kind in Kind:
        request = ModelRequest(kind=kind, prompt="x " * 200, inputs={"a": "words", "b": "more words"})
        route = choose(request, RoutingFacts(profile=on, now=EARLY))
        check_whole(route, request, on)
        assert bool(route.candidates) == (kind is not Kind.EMBED or "embedder" in on.tiers)
        if kind is Kind.CODE and "coder" in on.tiers:
            others = [spec.parameters_billion for tier, spec in on.tiers.items() if tier == "heavy"]
            is_small = on.tiers["coder"].parameters_billion < max(others)
            assert route.candidates[0].tier == "coder" or is_small


@pytest.mark.parametrize(("name", "there"), MACHINES)
def test_what_is_due_in_a_minute_behind_a_long_line_is_still_routed_with_the_delay_said(name: str, there: str):
    on = profile(name, there)
    waiting: dict[str, tuple[str, ...]] = dict.fromkeys(on.slots, ("somebody's model",) * 40)
    for entry in AGENTS:
        for asked in asked_by(entry.function, entry.name)[:1]:
            request = asked.model_copy(update={"due_at": EARLY + timedelta(minutes=1)})
            route = choose(request, RoutingFacts(profile=on, ahead=waiting, now=EARLY))
            assert len(route.candidates) == 1
            assert "would miss 05:01 UTC" in route.candidates[0].reason
            check_whole(route, request, on)


@pytest.mark.parametrize("name", NAMES)
def test_on_battery_the_same_models_serve_the_same_work(name: str):
    plugged, unplugged = profile(name, "ollama with all"), profile(name, "ollama with all", on_mains=False)
    assert unplugged.tiers == plugged.tiers
    assert unplugged.worker_limit == max(1, plugged.worker_limit // 2)
    assert unplugged.cadence == plugged.cadence
