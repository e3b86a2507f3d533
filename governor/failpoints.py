"""Named points of the line and of residency at which a test kills, stops or disturbs a process.

In production a point is one comparison with None. Only tests install a hook; nothing outside this
process (no variable of the environment, no file) can.
"""

from collections.abc import Callable

Hook = Callable[[str], None]
_hook: Hook | None = None


def failpoint(name: str) -> None:
    """Tell the hook, if there is one, that `name` is reached."""
    if _hook is not None:
        _hook(name)


def install(hook: Hook | None) -> None:
    """Use `hook` for every point from now on; None takes it away."""
    global _hook
    _hook = hook
