"""What the governor's readings are called where a person reads them, and in what unit. Pure.

The names themselves are given by `governor.sensors`, the marks by `governor.policy.rules`.
"""

import math
from typing import Any

from governor.policy.pressure import Mark

YES_OR_NO = "yes or no"
# Reading: (words, unit behind the figure).
WORDS = {
    "vram_total_mib": ("card memory in all", " MiB"),
    "vram_free_mib": ("card memory free", " MiB"),
    "vram_unattributed_mib": ("card memory of no known process", " MiB"),
    "vram_others_mib": ("card memory of others", " MiB"),
    "vram_slack_mib": ("card memory an engine holds unused", " MiB"),
    "vram_floor_drift_mib": ("card memory lost since this boot", " MiB"),
    "gpu_busy_percent": ("card busy", "%"),
    "gpu_temperature_c": ("card temperature", " °C"),
    "gpu_slowed": ("card slowed down", YES_OR_NO),
    "gpu_power_w": ("card power", " W"),
    "gpu_energy_j": ("card energy since its driver began", " J"),
    "host_available_mib": ("host memory available", " MiB"),
    "host_available_percent": ("host memory available, share", "%"),
    "swap_used_percent": ("swap in use", "%"),
    "swap_in_mib_per_s": ("swapped in", " MiB/s"),
    "swap_out_mib_per_s": ("swapped out", " MiB/s"),
    "swap_mib_per_s": ("swapped in and out", " MiB/s"),
    "major_faults_per_s": ("pages fetched from disk", " per second"),
    "psi_memory_some_percent": ("time some process waited for memory", "%"),
    "psi_memory_full_percent": ("time all processes waited for memory", "%"),
    "battery_percent": ("battery", "%"),
    "on_mains": ("on mains", YES_OR_NO),
    "disk_free_mib": ("disk free at the state folder", " MiB"),
    "context_fill_percent": ("fullest context", "%"),
    "requests_deferred": ("requests waiting inside engines", ""),
    "spilled_mib": ("model memory beside the card", " MiB"),
    "speed_percent": ("slowest model against its own history", "%"),
    "models_mib": ("memory of all models", " MiB"),
    "models_percent": ("memory of all models, share", "%"),
    "kernel_signs": ("warnings of the driver in 5 minutes", ""),
}


def words(name: str) -> str:
    """A reading's name; one that has no words here yet is named as the sensor does."""
    return WORDS[name][0] if name in WORDS else name


def figure(name: str, value: object) -> str:
    """A value with its unit, or what stands in its place: `unknown: why`."""
    if not is_number(value):
        return str(value)
    unit = WORDS[name][1] if name in WORDS else ""
    if unit == YES_OR_NO:
        return "yes" if value else "no"
    return f"{value:.1f}".removesuffix(".0") + unit


def marks_in_words(mark: Mark, *, night: bool) -> str:
    """The marks that count now: where it is high and where it is calm again."""
    band = mark.band(night=night)
    high, low = (figure(mark.reading, at) for at in (band.high, band.low))
    past, back = ("or more", "or less") if mark.rising_is_bad else ("or less", "or more")
    also = f" with {words(mark.also.reading)} {figure(mark.also.reading, mark.also.high)} or more" if mark.also else ""
    said = f"high at {high} {past}{also}, calm at {low} {back}{' (night)' if night and mark.night else ''}"
    if mark.firm is not None:
        said += f"; beyond idle models at {figure(mark.reading, mark.firm)} {past}"
    if mark.firm_with:
        said += f"; beyond idle models only beside {' or '.join(words(name) for name in mark.firm_with)}"
    return said


def is_number(value: Any) -> bool:
    """Whether a kept reading is a figure that can be shown and drawn."""
    return isinstance(value, (int, float)) and math.isfinite(value)
