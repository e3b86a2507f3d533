"""What the host says of its memory, through psutil."""

import psutil

from governor.policy.facts import Reading
from governor.settings import MIB


def read() -> list[Reading]:
    """Memory available and used, swap used; unknown with the reason where psutil cannot tell."""
    try:
        memory = psutil.virtual_memory()
        swap = psutil.swap_memory()
    except (OSError, RuntimeError, psutil.Error) as error:
        why = f"{type(error).__name__}: {error}"
        return [Reading(name="host_available_percent", value=None, unit="%", why=why)]
    return [
        Reading(name="host_available_mib", value=memory.available / MIB, unit="MiB"),
        Reading(name="host_available_percent", value=100 * memory.available / memory.total, unit="%"),
        Reading(name="swap_used_percent", value=float(swap.percent) if swap.total else 0.0, unit="%"),
    ]
