"""The router of a real llama-server as a process: started once, killed, suspended, found again, ended."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from governor.engines import llama_folder, llama_router
from governor.engines.llama_server import LlamaServerEngine
from governor.engines.protocol import Loaded
from governor.errors import ModelFailed
from governor.policy.facts import ModelSpec
from governor.processes import Identity, Life, life
from governor.settings import Home
from tests.integration.engine_stage import eventually
from tests.integration.llama_stage import needs_llama_server, process_of, router, small_model

pytestmark = needs_llama_server

LOAD = """
import dataclasses, json, sys
from governor.engines import engine
from governor.policy.facts import ModelSpec
print(json.dumps(dataclasses.asdict(engine("llama_server").load(ModelSpec.model_validate_json(sys.argv[1])))))
"""


@pytest.fixture
def spec(weights_file: Path) -> ModelSpec:
    return small_model(weights_file)


@pytest.fixture
def server(weights_home: Home) -> Iterator[LlamaServerEngine]:
    server = LlamaServerEngine()
    yield server
    server.close()
    assert llama_router.ours() == []


@pytest.fixture
def loaded(server: LlamaServerEngine, spec: ModelSpec) -> Loaded:
    return server.load(spec)


def loading_process(spec: ModelSpec) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", LOAD, spec.model_dump_json()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def printed(process: subprocess.Popen[bytes]) -> Loaded:
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said.decode()
    told = json.loads(out)
    return Loaded(**{**told, "identity": Identity(**told["identity"]), "pids": tuple(told["pids"])})


def test_the_router_and_its_model_are_in_a_session_of_their_own(loaded: Loaded):
    assert os.getsid(process_of(loaded).pid) == router().identity.pid != os.getsid(0)


def test_the_key_is_on_no_command_line_in_no_environment_and_in_no_log(loaded: Loaded, weights_home: Home):
    assert loaded.api_key
    for identity in (router().identity, process_of(loaded)):
        process = psutil.Process(identity.pid)
        assert loaded.api_key not in " ".join(process.cmdline())
        assert loaded.api_key not in " ".join(process.environ().values())
    assert all(loaded.api_key not in log.read_text() for log in weights_home.logs.iterdir())


def test_without_the_key_neither_the_router_nor_the_model_behind_it_answers(loaded: Loaded):
    assert loaded.address != router().address
    for address in (loaded.address, router().address):
        assert httpx.get(address + "/health", trust_env=False).status_code == 200
        for path in ("/models", "/slots", "/metrics"):
            assert httpx.get(address + path, trust_env=False).status_code == 401


def test_two_processes_at_once_start_one_router(server: LlamaServerEngine, spec: ModelSpec):
    specs = [spec, spec.model_copy(update={"model": "other"})]
    both = [printed(process) for process in [loading_process(one) for one in specs]]
    assert both[0].identity != both[1].identity
    running = server.residents() or []
    assert {one.model for one in running} == {"smollm2-135m", "other"}
    assert len(llama_router.ours()) == 3


def test_a_model_outlives_the_process_that_loaded_it_and_is_found_again(server: LlamaServerEngine, spec: ModelSpec):
    found = printed(loading_process(spec))
    assert server.alive(found, spec.model)
    assert server.load(spec).identity == found.identity
    assert server.unload(found, spec.model)
    assert life(process_of(found)) is Life.DEAD


def test_after_the_router_is_killed_the_next_load_starts_another_and_no_model_is_left(
    server: LlamaServerEngine, loaded: Loaded, spec: ModelSpec
):
    before = router()
    psutil.Process(before.identity.pid).kill()
    assert not server.alive(loaded, spec.model)
    again = server.load(spec)
    assert life(process_of(loaded)) is Life.DEAD
    assert router() != before
    assert server.alive(again, spec.model)
    assert set(llama_router.ours()) == {router().identity, process_of(again)}


def test_a_router_that_is_killed_while_a_model_loads_leaves_none(server: LlamaServerEngine, spec: ModelSpec):
    server.load(spec.model_copy(update={"model": "other"}))
    killed: list[int] = []

    def kill_the_router(pids: object) -> None:
        if pids and not killed:
            killed.append(router().identity.pid)
            psutil.Process(killed[0]).kill()

    with pytest.raises(ModelFailed, match="ended while it loaded"):
        server.load(spec, watch=kill_the_router)
    assert eventually(lambda: llama_router.ours() == [], 5.0)
    assert server.alive(server.load(spec), spec.model)


def test_a_router_that_stands_still_is_replaced(
    server: LlamaServerEngine, loaded: Loaded, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(llama_router, "TRIES", 1)
    monkeypatch.setattr(llama_router, "END_SECONDS", 0.2)
    before = router()
    psutil.Process(before.identity.pid).suspend()
    again = server.load(spec)
    assert life(before.identity) is Life.DEAD
    assert life(process_of(loaded)) is Life.DEAD
    assert server.alive(again, spec.model)


def test_what_a_killed_starter_left_is_ended_by_the_next_one(
    server: LlamaServerEngine, loaded: Loaded, spec: ModelSpec
):
    (llama_folder.folder() / "router.json").unlink()  # as if it was killed before it wrote it
    again = server.load(spec)
    assert life(process_of(loaded)) is Life.DEAD
    assert len(llama_router.ours()) == 2
    assert server.alive(again, spec.model)


def test_close_leaves_no_process_and_may_come_twice(server: LlamaServerEngine, loaded: Loaded, spec: ModelSpec):
    before = router()
    server.close()
    assert life(before.identity) is Life.DEAD
    assert life(process_of(loaded)) is Life.DEAD
    assert server.residents() == []
    assert server.unload(loaded, spec.model)
    server.close()
