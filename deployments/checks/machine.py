"""Checks of the machine: Python, the installed packages, memory, GPU, Ollama. No network but loopback."""

import shutil
import sys

from deployments.cadence import in_words
from deployments.checks import Check, failed, passed, warned
from deployments.versions import findings
from governor.machine import look_around
from governor.policy.admitting import FORKING_PLATFORM, RUN_MIB
from governor.profile import PROCESS_MIB, current_profile
from governor.sensors import gpu, host

# Measured (PSS): the server with the fleet 250 MiB, the worker 105, the process that it forks runs from 190.
SERVER_AND_WORKER_MIB, FORK_SERVER_MIB = 355.0, 190.0


def python() -> Check:
    """The interpreter is one that the packages were measured with."""
    found = ".".join(str(part) for part in sys.version_info[:3])
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        return passed("python", found)
    return failed(
        "python", f"{found}; 3.11 to 3.13 are supported", "Set up with another one: make up PYTHON=python3.12"
    )


def packages() -> list[Check]:
    """Each package that can break silently is inside its measured bounds and is not a compromised release."""
    return [
        failed(item.name, item.wrong, item.remedy) if item.wrong else passed(item.name, item.found or "")
        for item in findings()
    ]


def git() -> Check:
    """Agents that read a repository run the git command."""
    program = shutil.which("git")
    if program is None:
        return warned("git", "not on the PATH: agents that read a repository end with that reason", "Install git.")
    return passed("git", program)


def memory() -> Check:
    """The fleet's processes and the profile's models fit what is available now."""
    profile = current_profile()
    models = sum(spec.expected_mib for spec in profile.tiers.values() if spec.gpu_layers == 0)
    models = min(models, profile.memory_budget_mib)  # what takes turns is not there together
    needed = SERVER_AND_WORKER_MIB + runs_mib(profile.worker_limit) + models
    reading = next((item for item in host.read() if item.name == "host_available_mib"), None)
    if reading is None or reading.value is None:
        return warned("host memory", "cannot be read", "Watch it by hand while `hotdesk up` runs.")
    said = f"{reading.value:.0f} MiB available, about {needed:.0f} MiB needed at the busiest"
    if reading.value < needed:
        return warned("host memory", said, "Close something large, or set HOTDESK_PROFILE to a smaller profile.")
    return passed("host memory", said)


def runs_mib(places: int, *, platform: str = sys.platform) -> float:
    """What runs in all places take (MiB): forks share what was imported before, others import it each for itself."""
    if platform == FORKING_PLATFORM:
        return FORK_SERVER_MIB + RUN_MIB * places
    return PROCESS_MIB * places


def graphics() -> Check:
    """The GPU as NVML sees it; none is a normal case."""
    readings = {item.name: item for item in gpu.read()}
    total, free = readings["vram_total_mib"], readings["vram_free_mib"]
    if total.value is None or free.value is None:
        return passed("gpu", f"no GPU: {total.why}. The line `gpu` then guards the one heavy model in memory")
    cards = len(gpu.total_mib_by_card())
    more = f"; {cards} cards: models may be spread over them, heat and pressure are those of this one"
    return passed("gpu", f"{free.value:.0f} of {total.value:.0f} MiB free{more if cards > 1 else ''}")


def profile() -> Check:
    """Which profile was detected, with which models, and what it holds back."""
    found = current_profile()
    tiers = ", ".join(f"{tier}: {spec.model} on {spec.engine}" for tier, spec in sorted(found.tiers.items()))
    runs = f"{found.worker_limit} runs at a time on {found.power}"
    kept = f"; agents run at {in_words(found.cadence)} of several times a day" if found.cadence > 1 else ""
    return passed("profile", f"{found.name}; {tiers}; {runs}{kept}")


def ollama_server() -> Check:
    """Whether Ollama answers, and whether what it has may be used; without it the demo model works."""
    machine, advice = look_around(), " ".join(current_profile().advice)
    if machine.tags is None:
        return passed("ollama", "not running; models that need it are not there", advice)
    if machine.refused:
        return warned("ollama", f"other weights than there should be: {', '.join(machine.refused)}", advice)
    return passed("ollama", f"answers, with {len(machine.tags)} models", advice)
