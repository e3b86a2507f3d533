"""What this machine can carry: one of the profiles in `profiles.yaml`, detected or named by hand."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from governor.engines import names, ollama
from governor.errors import BadInput
from governor.policy.facts import Fact, ModelSpec, Profile
from governor.sensors import gpu, host

CATALOGUE = Path(__file__).with_name("profiles.yaml")
# Two threads were slower than one on a busy 2-core machine (0.5 against 2.6 tokens/s, measured); past
# four the small model gains nothing.
MOST_THREADS = 4
# Models in the host's memory take at most half of it, and the processes that run agents a quarter: the
# server, the workers and the desktop need the rest.
MODELS_SHARE_OF_MEMORY = 0.5
RUNS_SHARE_OF_MEMORY = 0.25
# One agent's process with Prefect and litellm imported (PSS, measured).
RUN_MIB = 190.0


class Machine(Fact):
    """What was found here. `vram_mib` 0 means no GPU; `tags` None means that no Ollama answers.

    `card` is the driver's uuid of the card.
    """

    vram_mib: float
    memory_mib: float
    cores: int
    tags: tuple[str, ...] | None = None
    card: str | None = None


def load_profiles() -> dict[str, Any]:
    """The catalogue as written."""
    return yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def current_profile() -> Profile:
    """The profile of this machine, detected once for each process."""
    return detect()


def look_around() -> Machine:
    """Ask the driver, the host and Ollama; takes half a second at most where Ollama does not answer."""
    tags = ollama.available_tags()
    return Machine(
        vram_mib=gpu.total_mib() or 0.0,
        memory_mib=host.total_mib() or 0.0,
        cores=host.cores(),
        tags=None if tags is None else tuple(tags),
        card=gpu.card_uuid(),
    )


def detect(machine: Machine | None = None) -> Profile:
    """The largest profile whose needs are met; `HOTDESK_PROFILE` overrides.

    Args:
        machine: what to decide for; this one when None.

    Raises:
        BadInput: `HOTDESK_PROFILE` names a profile that does not exist.
    """
    catalogue = load_profiles()
    profiles = catalogue["profiles"]
    named = os.environ.get("HOTDESK_PROFILE", "").strip()
    if named and named not in profiles:
        raise BadInput(
            f"HOTDESK_PROFILE names {named!r}, which is no profile.", remedy=f"Use one of: {', '.join(profiles)}."
        )
    machine = machine or look_around()
    name = named or next(n for n, p in profiles.items() if machine.vram_mib >= p["needs"]["vram_mib"])
    return _build(name, catalogue, machine)


def threads(cores: int) -> int:
    """Threads of one embedded model: half of the cores, since two models may run, one in each line."""
    return max(1, min(MOST_THREADS, cores // 2))


def _build(name: str, catalogue: dict[str, Any], machine: Machine) -> Profile:
    chosen, demo, caps = catalogue["profiles"][name], catalogue["embedded"], catalogue["first_round"]
    budget = _budget_mib(chosen, demo, machine)
    wanted = chosen["heavy"]["ollama"]
    has_room = chosen["heavy"]["expected_mib"] <= budget
    tag = ollama.fitting_model(list(machine.tags), wanted) if machine.tags is not None and has_room else None
    on_gpu = machine.vram_mib > 0
    named = _named_spec(chosen["heavy"], machine)
    if named is not None:
        heavy = named
    else:
        heavy = _ollama_spec(tag, chosen["heavy"], on_gpu) if tag else _embedded_spec(demo, "heavy", "gpu", machine)
    return Profile(
        name=name,
        tiers={"heavy": heavy, "tiny": _embedded_spec(demo, "tiny", "cpu", machine)},
        slots={"gpu": chosen.get("slots", 1), "cpu": 1},
        cards={"gpu": machine.card} if machine.card else {},
        worker_limit=_worker_limit(chosen["worker_limit"], machine),
        keep_alive_seconds=chosen["keep_alive_seconds"],
        memory_budget_mib=budget,
        first_round_items=_round_items(caps["items"]),
        first_round_tokens=caps["tokens"],
        advice=() if tag or named else (_advice(chosen["heavy"], budget, machine),),
    )


def _budget_mib(chosen: dict[str, Any], demo: dict[str, Any], machine: Machine) -> float:
    """What all models together may take; the tiny one, always in the host's memory, on top of the heavy ones."""
    budget = float(chosen["budget_mib"] + demo["tiny"]["expected_mib"])
    if machine.vram_mib > 0 or machine.memory_mib <= 0:
        return budget
    return min(budget, machine.memory_mib * MODELS_SHARE_OF_MEMORY)


def _worker_limit(most: int, machine: Machine) -> int:
    """Runs at a time: one more than cores, since most of a run is waiting, and as many as memory holds."""
    held = int(machine.memory_mib * RUNS_SHARE_OF_MEMORY / RUN_MIB) if machine.memory_mib > 0 else most
    return max(1, min(most, machine.cores + 1, held))


def _advice(heavy: dict[str, Any], budget_mib: float, machine: Machine) -> str:
    wanted, expected_mib = heavy["ollama"], heavy["expected_mib"]
    if expected_mib > budget_mib:
        return f"{wanted} takes about {expected_mib:.0f} MiB; models may take {budget_mib:.0f} MiB on this machine."
    start = "start Ollama and " if machine.tags is None else ""
    return f"For a real model: {start}run `ollama pull {wanted}`."


def _embedded_spec(demo: dict[str, Any], tier: str, line: str, machine: Machine) -> ModelSpec:
    return ModelSpec(
        engine="embedded",
        model=demo["model"],
        source=demo["source"],
        line=line,
        context_tokens=demo[tier]["context_tokens"],
        threads=threads(machine.cores),
        parameters_billion=demo["parameters_billion"],
        expected_mib=demo[tier]["expected_mib"],
        demo=True,
    )


def _round_items(usual: int) -> int:
    """Items that each agent takes in the first round: `HOTDESK_ROUND_ITEMS`, for a round that is over sooner.

    Raises:
        BadInput: it is no number above zero.
    """
    wanted = os.environ.get("HOTDESK_ROUND_ITEMS", "").strip()
    if not wanted:
        return usual
    if not wanted.isdecimal() or not int(wanted):
        raise BadInput(f"HOTDESK_ROUND_ITEMS is {wanted!r}.", remedy="Use a number such as 1, or unset it.")
    return int(wanted)


def _named_spec(heavy: dict[str, Any], machine: Machine) -> ModelSpec | None:
    """The heavy model that `HOTDESK_HEAVY` names as ENGINE:MODEL; None when it names none.

    For engines that read weights themselves MODEL is a file in the state folder's `weights`.

    Raises:
        BadInput: it does not name an engine and a model.
    """
    wanted = os.environ.get("HOTDESK_HEAVY", "").strip()
    if not wanted:
        return None
    engine_name, _, source = wanted.partition(":")
    if engine_name not in names() or not source:
        raise BadInput(
            f"HOTDESK_HEAVY is {wanted!r}; it names an engine and a model, such as llama_server:my-7b.gguf.",
            remedy=f"Engines are {', '.join(names())}; unset it to let the profile choose.",
        )
    return ModelSpec(
        engine=engine_name,
        model=source.removesuffix(".gguf"),
        source=source,
        line="gpu",
        context_tokens=heavy["context_tokens"],
        # The wheel of the embedded engine has no code for a card.
        gpu_layers=-1 if machine.vram_mib > 0 and engine_name != "embedded" else 0,
        threads=threads(machine.cores),
        parameters_billion=heavy["parameters_billion"],
        expected_mib=heavy["expected_mib"],
    )


def _ollama_spec(tag: str, heavy: dict[str, Any], on_gpu: bool) -> ModelSpec:
    return ModelSpec(
        engine="ollama",
        model=tag,
        source=tag,
        line="gpu",
        context_tokens=heavy["context_tokens"],
        gpu_layers=-1 if on_gpu else 0,
        parameters_billion=heavy["parameters_billion"],
        expected_mib=heavy["expected_mib"],
    )
