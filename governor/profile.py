"""What this machine can carry: one of the profiles in `profiles.yaml`, detected or named by hand."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil
import yaml

from governor.engines import ollama
from governor.errors import BadInput
from governor.policy.facts import ModelSpec, Profile
from governor.sensors import gpu
from governor.settings import MIB

CATALOGUE = Path(__file__).with_name("profiles.yaml")
# Two threads were slower than one on a busy 2-core machine (0.5 against 2.6 tokens/s, measured); past
# four the small model gains nothing.
MOST_THREADS = 4
# Models take at most half of the memory that is there: the fleet's own processes and the desktop need the rest.
SHARE_OF_MEMORY = 0.5


def load_profiles() -> dict[str, Any]:
    """The catalogue as written."""
    return yaml.safe_load(CATALOGUE.read_text())


@lru_cache(maxsize=1)
def current_profile() -> Profile:
    """The profile of this machine, detected once for each process."""
    return detect()


def detect(*, vram_mib: float | None = None, tags: list[str] | None = None) -> Profile:
    """The largest profile whose needs are met; `HOTDESK_PROFILE` overrides.

    Args:
        vram_mib: total GPU memory; read from the driver when None.
        tags: models that Ollama has; asked of its server when None.

    Raises:
        BadInput: `HOTDESK_PROFILE` names a profile that does not exist.
    """
    catalogue = load_profiles()
    profiles = catalogue["profiles"]
    if vram_mib is None:
        vram_mib = gpu.total_mib() or 0.0
    named = os.environ.get("HOTDESK_PROFILE")
    if named and named not in profiles:
        raise BadInput(
            f"HOTDESK_PROFILE names {named!r}, which is no profile.", remedy=f"Use one of: {', '.join(profiles)}."
        )
    name = named or next(n for n, p in profiles.items() if vram_mib >= p["needs"]["vram_mib"])
    return _build(name, catalogue, on_gpu=vram_mib > 0, tags=ollama.available_tags() if tags is None else tags)


def threads() -> int:
    """Threads of an embedded model on this machine."""
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return max(1, min(MOST_THREADS, cores // 2))


def _build(name: str, catalogue: dict[str, Any], *, on_gpu: bool, tags: list[str] | None) -> Profile:
    chosen, demo = catalogue["profiles"][name], catalogue["embedded"]
    wanted = chosen["heavy"]["ollama"]
    tag = ollama.fitting_model(tags, wanted) if tags is not None else None
    heavy = _ollama_spec(tag, chosen["heavy"], on_gpu) if tag else _embedded_spec(demo, "heavy", "gpu")
    budget = float(chosen["budget_mib"])
    if not on_gpu:
        budget = min(budget, psutil.virtual_memory().total / MIB * SHARE_OF_MEMORY)
    caps = catalogue["first_round"]
    return Profile(
        name=name,
        tiers={"heavy": heavy, "tiny": _embedded_spec(demo, "tiny", "cpu")},
        slots={"gpu": 1, "cpu": 1},
        worker_limit=min(chosen["worker_limit"], max(2, (psutil.cpu_count() or 1) + 1)),
        keep_alive_seconds=chosen["keep_alive_seconds"],
        memory_budget_mib=budget,
        first_round_items=caps["items"],
        first_round_tokens=caps["tokens"],
        advice=() if tag else (f"For a real model: start Ollama and run `ollama pull {wanted}`.",),
    )


def _embedded_spec(demo: dict[str, Any], tier: str, line: str) -> ModelSpec:
    return ModelSpec(
        engine="embedded",
        model=demo["model"],
        source=demo["source"],
        line=line,
        context_tokens=demo[tier]["context_tokens"],
        threads=threads(),
        parameters_billion=demo["parameters_billion"],
        expected_mib=demo[tier]["expected_mib"],
        demo=True,
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
