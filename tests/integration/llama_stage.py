"""What the tests with a real llama-server share: when they can run, one model, and how to look at processes."""

from pathlib import Path

import pytest

from governor.engines import llama_router
from governor.engines.llama_router import Router
from governor.engines.protocol import Loaded
from governor.policy.facts import ModelSpec
from governor.processes import Identity

needs_llama_server = pytest.mark.skipif(
    llama_router.binary() is None, reason="no llama-server on the PATH: tests/build_llama_server.sh builds one"
)


def small_model(weights: Path) -> ModelSpec:
    """The shipped model, on one thread of the CPU."""
    return ModelSpec(
        engine="llama_server",
        model="smollm2-135m",
        source=weights.name,
        line="cpu",
        context_tokens=1024,
        threads=1,
        parameters_billion=0.135,
        expected_mib=260,
        demo=True,
    )


def process_of(loaded: Loaded) -> Identity:
    """The model's process."""
    assert loaded.identity is not None
    return loaded.identity


def router() -> Router:
    """The router that runs."""
    found = llama_router.found()
    assert found is not None
    return found
