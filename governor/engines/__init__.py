"""Inference engines behind one Protocol, one file each. A new engine is one file and one line here.

Nothing is imported until an engine is asked for: the embedded engine's child passes through this
package too, and its start is on the way to a first token.
"""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governor.engines.protocol import Engine

CLASSES = {
    "embedded": "EmbeddedEngine",
    "llama_server": "LlamaServerEngine",
    "llama_swap": "LlamaSwapEngine",
    "lm_studio": "LMStudioEngine",
    "ollama": "OllamaEngine",
}


def names() -> tuple[str, ...]:
    """Every engine that can be asked for, in alphabetical order."""
    return tuple(sorted(CLASSES))


@cache
def engine(name: str) -> "Engine":
    """The engine of that name, one object per process.

    Raises:
        BadInput: there is none.
    """
    if name not in CLASSES:
        from governor.errors import BadInput

        raise BadInput(f"There is no engine {name!r}.", remedy=f"Use one of: {', '.join(names())}.")
    return getattr(import_module(f"governor.engines.{name}"), CLASSES[name])()
