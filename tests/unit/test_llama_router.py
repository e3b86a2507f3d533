"""The router of llama-server as a program that stands in for it: its files, its lock, and whom it is taken for."""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from governor.engines import llama_folder, llama_router
from governor.engines.llama_server import LlamaServerEngine
from governor.errors import DoesNotFit, NotReady
from governor.processes import Life, life
from governor.settings import Home
from governor.tier_catalogue import catalogue
from tests.fakes.llama_program import OUT_OF_MEMORY, SPEC, Faults, engine_with_stand_in, process_of, router, tell_faults


@pytest.fixture
def server(hotdesk_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LlamaServerEngine]:
    with engine_with_stand_in(hotdesk_home, tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def faults(hotdesk_home: Home) -> Faults:
    return tell_faults


def test_files_that_cannot_be_used_are_not_ready(server: LlamaServerEngine):
    with llama_folder.locked():
        llama_folder.presets_file().mkdir()
    with pytest.raises(NotReady, match=r"models\.ini cannot be used") as caught:
        server.load(SPEC)
    assert "build_llama_server" not in caught.value.remedy
    llama_folder.presets_file().rmdir()
    server.load(SPEC)
    llama_folder.presets_file().write_bytes(b"[small]\nmodel = \xff\n")
    with pytest.raises(NotReady, match="hotdesk down"):
        server.load(SPEC.model_copy(update={"model": "other"}))


def test_its_processes_are_known_by_whatever_link_the_folder_is_reached(
    server: LlamaServerEngine, hotdesk_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "link").symlink_to(hotdesk_home.root)
    monkeypatch.setenv("HOTDESK_HOME", str(tmp_path / "link"))
    server.load(SPEC)
    assert len(llama_router.ours()) == 2
    monkeypatch.setenv("HOTDESK_HOME", str(hotdesk_home.root))
    assert len(llama_router.ours()) == 2


def test_a_router_that_cannot_be_ended_from_here_is_still_found(server: LlamaServerEngine):
    server.load(SPEC)
    told = llama_folder.router_file().read_text()
    elsewhere = json.loads(told)
    elsewhere["identity"]["pid_namespace"] = "elsewhere"
    llama_folder.router_file().write_text(json.dumps(elsewhere))
    llama_router.end_all()
    assert llama_folder.router_file().exists()


def test_a_router_whose_process_number_went_to_another_one_has_no_models(server: LlamaServerEngine):
    server.load(SPEC)
    known = router()
    assert known.child("small")
    earlier = dataclasses.replace(known.identity, start_ticks=known.identity.start_ticks - 1)
    assert dataclasses.replace(known, identity=earlier).child("small") is None


def test_a_lock_that_somebody_keeps_is_not_waited_for_without_end(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(llama_folder, "LOCK_SECONDS", 0.05)
    with llama_folder.locked(), pytest.raises(NotReady, match="keeps its lock"), llama_folder.locked():
        pytest.fail("two had it at once")


def test_what_the_caller_tells_llama_cpp_does_not_reach_the_router(
    server: LlamaServerEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LLAMA_ARG_N_GPU_LAYERS", "7")
    monkeypatch.setenv("AIP_MODE", "PREDICTION")
    server.load(SPEC)
    if Path("/proc").is_dir():
        told = Path(f"/proc/{router().identity.pid}/environ").read_bytes()
        assert b"LLAMA_ARG_N_GPU_LAYERS" not in told
        assert b"AIP_" not in told
        assert os.fsencode(f"{llama_router.KEY_VARIABLE}={llama_folder.key_file()}") in told


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux shows the environment of a process")
def test_no_key_of_a_cloud_tier_reaches_the_router_which_outlives_the_agent(
    server: LlamaServerEngine, monkeypatch: pytest.MonkeyPatch
):
    names = {name for tier in catalogue().values() for name in tier.key_variables}
    assert "GROQ_API_KEY" in names
    for name in names:
        monkeypatch.setenv(name, "FAKE-canary-4711")
    monkeypatch.setenv("SOMETHING_ELSE", "stays")
    server.load(SPEC)
    told = Path(f"/proc/{router().identity.pid}/environ").read_bytes()
    assert b"FAKE-canary" not in told
    assert b"SOMETHING_ELSE=stays" in told


def test_a_router_that_does_not_answer_is_replaced_and_its_models_end(server: LlamaServerEngine, faults: Faults):
    first, before = server.load(SPEC), router()
    faults(silent=before.identity.pid)
    assert server.residents() is None
    assert not server.alive(first, "small")
    second = server.load(SPEC)
    assert life(before.identity) is Life.DEAD
    assert life(process_of(first)) is Life.DEAD
    assert router().address != before.address
    assert server.alive(second, "small")


def test_a_log_that_grew_too_long_is_emptied_before_the_next_load(
    server: LlamaServerEngine, faults: Faults, monkeypatch: pytest.MonkeyPatch
):
    server.load(SPEC)
    monkeypatch.setattr(llama_router, "MOST_LOG_BYTES", 10)
    assert server.unload(server.load(SPEC), "small")
    faults(said=OUT_OF_MEMORY, fail=1)
    with pytest.raises(DoesNotFit):
        server.load(SPEC)
    assert "listening" not in llama_folder.log_file().read_text()
