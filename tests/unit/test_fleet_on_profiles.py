"""The same fleet on every machine: whatever its agents ask for has a route on each profile, and the route is whole."""

import importlib
import inspect
from datetime import UTC, datetime, timedelta
from itertools import chain, product
from typing import Any

import pytest

from deployments.fleet import Entry, read_fleet
from deployments.samples import prepare_samples
from governor import remembered
from governor.machine import Machine
from governor.model_catalogue import catalogue
from governor.policy.facts import Kind, Profile
from governor.policy.requests import ModelRequest, Privacy, Route
from governor.policy.routing import NO_TIER, RoutingFacts, choose
from governor.policy.tokens import needed_tokens
from governor.profile import detect
from governor.settings import prepare_home
from tests.unit.fleet_stage import run_flow

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


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[ModelRequest, ...]]:
    """By agent, the longest and the shortest of what it asks for on its sample; nobody answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOTDESK_HOME", str(tmp_path_factory.mktemp("fleet") / "home"))
        prepare_samples(prepare_home())
        return {name_of(entry): _asked(entry) for entry in AGENTS}


def _asked(entry: Entry) -> tuple[ModelRequest, ...]:
    flow = getattr(importlib.import_module(f"flows.{entry.function}"), entry.function)
    told = inspect.signature(flow.fn).parameters["parameters"].annotation
    parameters = told(**entry.parameters["parameters"])
    remembered.forget()
    made = sorted(run_flow(flow, parameters, lambda _request: None).asked, key=lambda request: len(request.text))
    filled = {"due_at": parameters.due_at(EARLY)}
    return tuple(request.model_copy(update=filled) for request in (made[-1:] + made[:1]))


def name_of(entry: Entry) -> str:
    return f"{entry.function}/{entry.name}"


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


# Of these the code decides, and asks a model only about what it found.
MAY_ASK_NOTHING = {"check", "brief"}
# Drafts of what will be published, and only they, may leave this machine.
MAY_LEAVE = {"draft/blog", "draft/social", "draft/newsletter", "draft/product-copy"}


@pytest.mark.parametrize("entry", AGENTS, ids=name_of)
def test_an_agent_asks_for_something_and_stays_on_this_machine_unless_it_says_otherwise(
    entry: Entry, asked: dict[str, tuple[ModelRequest, ...]]
):
    wanted = asked[name_of(entry)]
    assert wanted or entry.function in MAY_ASK_NOTHING
    stays = {request.allowed for request in wanted} <= {Privacy.LOCAL_ONLY}
    assert stays is (name_of(entry) not in MAY_LEAVE)


@pytest.mark.parametrize(("name", "there"), MACHINES)
def test_everything_the_fleet_asks_for_has_a_route_on_every_profile(
    name: str, there: str, asked: dict[str, tuple[ModelRequest, ...]]
):
    on = profile(name, there)
    assert on.name == name
    for request in chain(*asked.values()):
        route = choose(request, RoutingFacts(profile=on, now=EARLY))
        assert bool(route.candidates) == (request.kind is not Kind.EMBED or "embedder" in on.tiers), route.refusals
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
def test_what_is_due_in_a_minute_behind_a_long_line_is_still_routed_with_the_delay_said(
    name: str, there: str, asked: dict[str, tuple[ModelRequest, ...]]
):
    on = profile(name, there)
    waiting: dict[str, tuple[str, ...]] = dict.fromkeys(on.slots, ("somebody's model",) * 40)
    for wanted in chain(*asked.values()):
        if wanted.kind is not Kind.EMBED:
            request = wanted.model_copy(update={"due_at": EARLY + timedelta(minutes=1)})
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
