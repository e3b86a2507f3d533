"""Inference engines behind one Protocol, one file each. A new engine is one file and one line here."""

from governor.engines.embedded import EmbeddedEngine
from governor.engines.ollama import OllamaEngine
from governor.engines.protocol import Engine
from governor.errors import BadInput

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (EmbeddedEngine(), OllamaEngine())}


def engine(name: str) -> Engine:
    """The engine of that name.

    Raises:
        BadInput: there is none.
    """
    if name not in ENGINES:
        raise BadInput(f"There is no engine {name!r}.", remedy=f"Use one of: {', '.join(sorted(ENGINES))}.")
    return ENGINES[name]
