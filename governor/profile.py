"""What this machine can carry: one of the profiles in `profiles.yaml`, detected or named by hand.

What there is was found by `governor.machine`, what is written is read by `governor.model_catalogue`, and which models
serve is decided by `governor.tier_models`. By hand: HOTDESK_PROFILE names a profile, HOTDESK_CADENCE=N keeps every
N-th time of agents that run several times a day (1: all, 24 at most), HOTDESK_ROUND_ITEMS=N makes the first round
shorter.
"""

import os
import sys
from functools import lru_cache

from governor.engines import ollama
from governor.errors import BadInput
from governor.machine import BATTERY, Machine, look_around
from governor.model_catalogue import MOST_CADENCE, Written, catalogue
from governor.policy.admitting import FORKING_PLATFORM, RUN_MIB
from governor.policy.facts import ModelSpec, Profile
from governor.tier_models import MODELS_SHARE_OF_MEMORY, budget_mib, expected_mib, most_mib, serve, wanted

# The processes that run agents take at most a quarter of the host's memory.
RUNS_SHARE_OF_MEMORY = 0.25
# A forked run takes 0.11 s of one core to its first line (measured) and then mostly waits. Twelve on two cores, with
# server, worker and fork server, stay below 1.2 GB in all (`python -m tests.benchmarks.burst`); fourteen do not.
FORKS_PER_CORE = 6
# A process with Prefect and litellm imported (PSS, measured), which takes 3-4 s of one core to begin. Of fifty at once
# with no limit 16 crashed, with 4 none.
PROCESS_MIB, MOST_PROCESSES = 190.0, 4
# On battery half as much runs at a time. How often agents run stays: their times are on the server since the last
# `hotdesk bootstrap`, and a laptop is plugged in and out all day.
BATTERY_FACTOR = 2


@lru_cache(maxsize=1)
def current_profile() -> Profile:
    """The profile of this machine, detected once for each process."""
    return detect()


def detect(machine: Machine | None = None, *, platform: str = sys.platform) -> Profile:
    """The largest profile whose needs are met; `HOTDESK_PROFILE` overrides.

    Args:
        machine: what to decide for; this one when None.
        platform: as `sys.platform` says it; it decides how many agents run at a time.

    Raises:
        BadInput: a variable names a profile, an engine or a number that does not exist, or the files are wrong.
    """
    machine = machine or look_around()
    name = profile_name(machine)
    written = catalogue().profiles[name]
    tiers, first_round = serve(written, machine), catalogue().first_round
    return Profile(
        name=name,
        tiers=tiers,
        slots=written.slots,
        cards={"gpu": machine.card} if machine.card else {},
        worker_limit=_worker_limit(written, machine, platform),
        keep_alive_seconds=written.keep_alive_seconds,
        memory_budget_mib=_budget_of_all_mib(tiers, written, machine),
        first_round_items=_whole_number("HOTDESK_ROUND_ITEMS") or first_round.items,
        first_round_tokens=first_round.tokens,
        cadence=_cadence(written),
        power=machine.power,
        advice=tuple(_advice(tiers["heavy"], written, machine)),
    )


def profile_name(machine: Machine) -> str:
    """Which profile this machine gets.

    Raises:
        BadInput: `HOTDESK_PROFILE` names a profile that does not exist.
    """
    profiles = catalogue().profiles
    named = os.environ.get("HOTDESK_PROFILE", "").strip()
    if named and named not in profiles:
        raise BadInput(
            f"HOTDESK_PROFILE names {named!r}, which is no profile.", remedy=f"Use one of: {', '.join(profiles)}."
        )
    return named or next((name for name, written in profiles.items() if _is_met(written, machine)), [*profiles][-1])


def _is_met(written: Written, machine: Machine) -> bool:
    needs = written.needs
    pairs = ((machine.vram_mib, needs.vram_mib), (machine.memory_mib, needs.memory_mib), (machine.cards, needs.cards))
    return all(there >= needed for there, needed in pairs)


def _budget_of_all_mib(tiers: dict[str, ModelSpec], written: Written, machine: Machine) -> float:
    """What all models together may take; beside what cards hold, what is in the host's memory comes on top."""
    on_top = (spec for spec in tiers.values() if spec.line == "cpu" or (machine.vram_mib > 0 and spec.memory == "ram"))
    budget = budget_mib(written, machine) + sum(spec.expected_mib for spec in on_top)
    if machine.vram_mib > 0 or machine.memory_mib <= 0:
        return budget
    return min(budget, machine.memory_mib * MODELS_SHARE_OF_MEMORY)


def _worker_limit(written: Written, machine: Machine, platform: str) -> int:
    """Places for agents: how many may be there at a time, most of them waiting for a model.

    How many of the places are taken follows from the memory that is free then (`policy.admitting`).
    """
    if platform == FORKING_PLATFORM:
        most, run_mib = min(written.worker_limit, FORKS_PER_CORE * machine.cores), RUN_MIB
    else:
        most, run_mib = min(written.worker_limit, MOST_PROCESSES, machine.cores + 1), PROCESS_MIB
    if machine.memory_mib > 0:
        most = min(most, int(machine.memory_mib * RUNS_SHARE_OF_MEMORY / run_mib))
    return max(1, most // BATTERY_FACTOR if machine.power == BATTERY else most)


def _cadence(written: Written) -> int:
    return _whole_number("HOTDESK_CADENCE", most=MOST_CADENCE) or written.cadence


def _advice(heavy: ModelSpec, written: Written, machine: Machine) -> list[str]:
    said = [
        f"{tag} is not used: its weights are others than they should be."
        f" Run `ollama rm {tag}`, then `hotdesk model pull {tag}`."
        for tag in machine.refused
    ]
    best = wanted("heavy", written, machine)
    if not heavy.demo or (best and ollama.full_name(best.model) in machine.refused):
        return said
    if best is None:
        takes, most = expected_mib(written.heavy[0], "heavy", written, machine), most_mib("heavy", written, machine)
        what = f"{written.heavy[0].model} takes about {takes:.0f} MiB"
        return [*said, f"{what}; models may take {most:.0f} MiB on this machine."]
    start = "start Ollama and " if machine.tags is None else ""
    return [*said, f"For a real model: {start}run `hotdesk model pull {best.model}`."]


def _whole_number(variable: str, *, most: int | None = None) -> int | None:
    """What a variable says, None when it is not set.

    Raises:
        BadInput: it is no number above zero, or one above `most`.
    """
    said = os.environ.get(variable, "").strip()
    if not said:
        return None
    if not (said.isascii() and said.isdecimal()) or not int(said) or (most is not None and int(said) > most):
        such = "such as 1" if most is None else f"from 1 to {most}"
        raise BadInput(f"{variable} is {said!r}.", remedy=f"Use a number {such}, or unset it.")
    return int(said)
