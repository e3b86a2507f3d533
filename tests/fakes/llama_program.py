"""The stand-in for llama-server as a program that the engine starts, and what the tests against it share."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from governor.engines import llama_folder, llama_router
from governor.engines.llama_server import LlamaServerEngine
from governor.engines.protocol import Loaded
from governor.policy.facts import ModelSpec
from governor.processes import Identity
from governor.settings import Home
from tests.fakes import llama_server as fake

SPEC = ModelSpec(
    engine="llama_server",
    model="small",
    source="small.gguf",
    line="gpu",
    context_tokens=2048,
    parameters_billion=0.5,
    expected_mib=500,
)
OUT_OF_MEMORY = ("0.1 E ggml_backend_cuda: cudaMalloc failed: out of memory", "0.1 E load: failed to load model")
CORRUPT = ("0.1 E llama_model_load: tensor is not within the file bounds", "0.1 E load: failed to load model")

Faults = Callable[..., None]


@contextlib.contextmanager
def engine_with_stand_in(home: Home, where: Path, patch: pytest.MonkeyPatch) -> Iterator[LlamaServerEngine]:
    """The engine with the stand-in as its program, an executable in `where`; nothing is left when it is over."""
    path = where / "llama-server"
    root = Path(fake.__file__).parents[2]
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" "{fake.__file__}" "$@"\n')
    path.chmod(0o755)
    patch.setenv(llama_router.NAMED_BY, str(path))
    (home.weights / SPEC.source).write_bytes(b"weights")
    server = LlamaServerEngine()
    yield server
    server.close()
    assert llama_router.ours() == []


def tell_faults(**now: Any) -> None:
    """What is wrong with the stand-in from now on, and nothing else."""
    llama_folder.folder().mkdir(exist_ok=True)
    (llama_folder.folder() / "faults.json").write_text(json.dumps(now))


def process_of(loaded: Loaded) -> Identity:
    """The model's process."""
    assert loaded.identity is not None
    return loaded.identity


def router() -> llama_router.Router:
    """The router that runs."""
    found = llama_router.found()
    assert found is not None
    return found
