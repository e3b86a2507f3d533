"""The contract of every engine: the embedded one with the real weights, the others against honest fakes."""

import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from governor.engines import engine, llama_swap, lm_studio, ollama
from governor.engines.protocol import Loaded, Watch, unwatched
from governor.policy.facts import ModelSpec
from governor.settings import Home, prepare_home
from tests.conftest import at_home
from tests.fakes.llama_swap_server import FakeLlamaSwap
from tests.fakes.lm_studio_server import FakeLMStudio
from tests.fakes.mortal_server import MortalServer
from tests.fakes.ollama_server import FakeOllama
from tests.integration.engine_contract import EngineContract, Stage

SLOW_SECONDS = 0.4
FOR_EVER = 10_000
CHILD = "governor.engines.embedded_child"


def spec_of(name: str, model: str, source: str, **more: object) -> ModelSpec:
    facts = {"line": "cpu", "context_tokens": 512, "parameters_billion": 0.135, "expected_mib": 260, **more}
    return ModelSpec.model_validate({"engine": name, "model": model, "source": source, **facts})


class EmbeddedStage(Stage):
    """The real engine and the real weights; one child serves many tests. Its models are named after this process."""

    def __init__(self, weights: Path) -> None:
        self.engine = engine("embedded")
        self.spec = spec_of("embedded", f"contract-{os.getpid()}", weights.name, engine_slots=2, cache_type="q8_0")
        self.second = self.spec.model_copy(update={"model": f"second-{os.getpid()}"})
        self._kept: Loaded | None = None

    def loaded(self) -> Loaded:
        if self._kept is None or not self.engine.alive(self._kept, self.spec.model):
            self._kept = self.engine.load(self.spec)
        return self._kept

    def end(self) -> None:
        assert self._kept is None or self.engine.unload(self._kept, self.spec.model)

    def processes(self) -> set[int]:
        mine = (self.spec.model, self.second.model if self.second else "")
        children = [one for one in psutil.process_iter(["cmdline"]) if CHILD in (one.info["cmdline"] or ())]
        return {one.pid for one in children if any(model in " ".join(one.info["cmdline"]) for model in mine)}

    def missing(self) -> ModelSpec:
        return self.spec.model_copy(update={"model": "not-there", "source": "not-there.gguf"})

    def dies_mid_load(self) -> Watch:
        def kill(pids: Sequence[int]) -> None:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

        return kill


@pytest.fixture(scope="class")
def kept_stage(weights_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One for all tests of the class: a child takes most of a second to load."""
    where = Home(tmp_path_factory.mktemp("contract") / "home")
    with at_home(where):
        prepare_home()
        (where.weights / weights_file.name).symlink_to(weights_file)
        stage = EmbeddedStage(weights_file)
        yield stage
        stage.end()


class TestEmbedded(EngineContract):
    @pytest.fixture
    def stage(self, kept_stage: Stage) -> Stage:
        return kept_stage


class FakeStage(Stage):
    """What the stages with a fake server share: the server, and that it can end."""

    def __init__(self, server: MortalServer, patch: pytest.MonkeyPatch) -> None:
        self._mortal = server
        self._patch = patch

    def absent(self) -> None:
        self._mortal.end()

    def slow_load(self) -> None:
        self._mortal.load_seconds = SLOW_SECONDS

    def dies_mid_load(self) -> Watch:
        self._mortal.breaks_off = True
        return unwatched

    def hangs(self) -> None:
        self._mortal.hangs = True

    def generating(self, loaded: Loaded) -> bool:
        return self._mortal.generating.is_set()

    def kill(self, loaded: Loaded) -> None:
        self._mortal.end()


class OllamaStage(FakeStage):
    """A fake Ollama with two models."""

    def __init__(self, server: FakeOllama, patch: pytest.MonkeyPatch) -> None:
        super().__init__(server, patch)
        self.server = server
        self.engine = engine("ollama")
        self.spec = spec_of("ollama", "qwen2.5:7b", "qwen2.5:7b", line="gpu", gpu_layers=-1)
        self.second = spec_of("ollama", "llama3.2:3b", "llama3.2:3b", line="gpu", gpu_layers=-1)

    def slow_unload(self) -> None:
        self.server.lists_after_unload = 3

    def stale_list(self) -> None:
        self._patch.setattr(ollama, "UNLOAD_SECONDS", 0.3)
        self.server.lists_after_unload = FOR_EVER

    def queue_full(self) -> None:
        self.server.queue_full = True

    def spills(self) -> None:
        self.server.gpu_share = 0.8


class TestOllama(EngineContract):
    @pytest.fixture
    def stage(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
        with FakeOllama("qwen2.5:7b", "llama3.2:3b") as server:
            monkeypatch.setenv("OLLAMA_HOST", server.address)
            yield OllamaStage(server, monkeypatch)


class LlamaSwapStage(FakeStage):
    """A fake llama-swap that may run two models side by side, as a group in its configuration can."""

    def __init__(self, server: FakeLlamaSwap, patch: pytest.MonkeyPatch) -> None:
        super().__init__(server, patch)
        self.server = server
        self.engine = engine("llama_swap")
        self.spec = spec_of("llama_swap", "qwen", "qwen")
        self.second = spec_of("llama_swap", "llama", "llama")

    def slow_unload(self) -> None:
        self.server.lists_after_unload = 3

    def stale_list(self) -> None:
        self._patch.setattr(llama_swap, "UNLOAD_SECONDS", 0.3)
        self.server.lists_after_unload = FOR_EVER

    def queue_full(self) -> None:
        self.server.queue_full = True


class TestLlamaSwap(EngineContract):
    @pytest.fixture
    def stage(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
        with FakeLlamaSwap(qwen=512, llama=512) as server:
            monkeypatch.setenv("LLAMA_SWAP_URL", server.address)
            yield LlamaSwapStage(server, monkeypatch)


class LMStudioStage(FakeStage):
    """A fake LM Studio with two models."""

    def __init__(self, server: FakeLMStudio, patch: pytest.MonkeyPatch) -> None:
        super().__init__(server, patch)
        self.server = server
        self.engine = engine("lm_studio")
        self.spec = spec_of("lm_studio", "qwen/qwen3-4b", "qwen/qwen3-4b")
        self.second = spec_of("lm_studio", "gemma-3-270m", "gemma-3-270m")
        # An instance that never turns up is waited for: a load of this fake takes 0.4 s at most.
        patch.setattr(lm_studio, "LATE_INSTANCE_SECONDS", 1.0)

    def slow_unload(self) -> None:
        self.server.lists_after_unload = 3

    def stale_list(self) -> None:
        self._patch.setattr(lm_studio, "UNLOAD_SECONDS", 0.3)
        self.server.lists_after_unload = FOR_EVER

    def queue_full(self) -> None:
        self.server.queue_full = True


class TestLMStudio(EngineContract):
    @pytest.fixture
    def stage(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
        with FakeLMStudio("qwen/qwen3-4b", "gemma-3-270m") as server:
            monkeypatch.setenv("LM_STUDIO_URL", server.address)
            yield LMStudioStage(server, monkeypatch)


def test_nobody_listens_where_no_server_was_ever_started(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    for variable, name in (("OLLAMA_HOST", "ollama"), ("LLAMA_SWAP_URL", "llama_swap"), ("LM_STUDIO_URL", "lm_studio")):
        monkeypatch.setenv(variable, address)
        assert address.removeprefix("http://") in (engine(name).health() or "")
