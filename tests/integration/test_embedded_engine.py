"""The real embedded engine with the real weights: one child per test, ended by the test."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from governor import inference
from governor.engines import embedded, embedded_child, engine
from governor.engines.protocol import Loaded, Usage
from governor.errors import BadInput, ModelFailed, NotReady
from governor.policy.facts import ModelSpec
from governor.policy.requests import ModelRequest
from governor.processes import Identity, Life, end, identify, life
from governor.settings import Home

ENGINE = engine("embedded")
CHILD = [sys.executable, "-m", "governor.engines.embedded_child"]
INVOICE = {
    "type": "object",
    "properties": {"vendor": {"type": "string", "maxLength": 20}, "paid": {"type": "boolean"}},
    "required": ["vendor", "paid"],
    "additionalProperties": False,
}


@pytest.fixture
def spec(weights_file: Path) -> ModelSpec:
    return ModelSpec(
        engine="embedded",
        model="smollm2-135m",
        source=weights_file.name,
        line="cpu",
        context_tokens=1024,
        threads=1,
        parameters_billion=0.135,
        expected_mib=260,
        demo=True,
    )


@pytest.fixture
def loaded(weights_home: Home, spec: ModelSpec) -> Iterator[Loaded]:
    loaded = ENGINE.load(spec)
    yield loaded
    assert ENGINE.unload(loaded, spec.model)


@pytest.fixture
def ask(loaded: Loaded, spec: ModelSpec) -> Callable[..., inference.Completion]:
    def ask(*, deadline_seconds: float = 60.0, **fields: Any) -> inference.Completion:
        request = ModelRequest.model_validate({"kind": "write", **fields})
        parameters = ENGINE.litellm_parameters(spec, loaded)
        return inference.complete(request, parameters, deadline_seconds=deadline_seconds)

    return ask


def process_of(loaded: Loaded) -> Identity:
    assert loaded.identity is not None
    return loaded.identity


def eventually(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def engine_children() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # one that ended and was not waited for yet
            found += [child] if "embedded_child" in " ".join(child.cmdline()) else []
    return found


def test_a_loaded_model_is_alive_quiet_and_in_a_session_of_its_own(loaded: Loaded, spec: ModelSpec):
    pid = process_of(loaded).pid
    assert ENGINE.alive(loaded, spec.model)
    assert ENGINE.quiet(loaded, spec.model)
    assert loaded.address.startswith("http://127.0.0.1:")
    assert os.getsid(pid) == pid != os.getsid(0)
    assert 100 < (loaded.memory_mib or 0) < 400


def test_its_key_is_on_no_command_line_and_in_no_environment(loaded: Loaded, weights_home: Home):
    child = psutil.Process(process_of(loaded).pid)
    assert loaded.api_key
    assert loaded.api_key not in " ".join(child.cmdline())
    assert loaded.api_key not in " ".join(child.environ().values())
    assert all(loaded.api_key not in log.read_text() for log in weights_home.logs.iterdir())


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/slots", 401), ("/v1/models", 401), ("/", 404)])
def test_without_the_key_only_its_health_can_be_asked(path: str, status: int, loaded: Loaded):
    assert httpx.get(loaded.address + path, trust_env=False).status_code == status


def test_choices_give_exactly_one_label(ask: Callable[..., inference.Completion]):
    labels = ("positive", 'a "mixed" one', "negative")
    said = ask(prompt='Review: "I hate this." Sentiment:', choices=labels, max_tokens=1)
    assert said.text in labels
    assert said.finish_reason == "stop"


def test_a_schema_gives_an_object_of_that_shape(ask: Callable[..., inference.Completion]):
    said = ask(prompt="Invoice of ACME, paid. Extract vendor and paid.", json_schema=INVOICE, max_tokens=80)
    data = json.loads(said.text)
    assert set(data) == {"vendor", "paid"}
    assert isinstance(data["paid"], bool)


def test_prose_is_counted_and_timed_and_cut_at_its_cap(ask: Callable[..., inference.Completion]):
    said = ask(prompt="Tell a long story about a king.", max_tokens=12)
    assert said.text.strip()
    assert (said.finish_reason, said.tokens_out) == ("length", 12)
    assert said.tokens_in > 5
    assert 0 < said.first_token_seconds < said.seconds


def test_a_prompt_longer_than_the_context_is_bad_input(ask: Callable[..., inference.Completion]):
    with pytest.raises(BadInput, match="longer than the model's context"):
        ask(prompt="word " * 3000, max_tokens=8)


def test_a_call_past_its_deadline_frees_the_engine_slot(ask: Callable[..., inference.Completion], loaded: Loaded):
    inference.warm_up()
    with pytest.raises(ModelFailed, match="no full answer within") as caught:
        ask(prompt="Count from one to one thousand in words.", choices=("x" * 700,), deadline_seconds=0.5)
    assert caught.value.data["retryable"] is True
    assert eventually(lambda: ENGINE.quiet(loaded, ""), 2.0)


def test_a_child_at_work_says_how_full_its_context_is_and_who_waits(
    ask: Callable[..., inference.Completion], loaded: Loaded
):
    inference.warm_up()
    assert ENGINE.usage(loaded, "") == Usage(1, 0, 1024, filled_tokens=0, deferred=0)
    seen: list[Usage] = []

    def waiting() -> bool:
        usage = ENGINE.usage(loaded, "")
        seen.extend([usage] if usage is not None and usage.deferred else [])
        return bool(seen)

    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(ask, prompt="Tell a story.", choices=("x" * 150,)) for _ in range(2)]
        assert eventually(waiting, 20.0)
        assert all(said.result().tokens_out for said in asked)
    assert (seen[0].busy, seen[0].deferred) == (1, 1)
    assert 0 < (seen[0].filled_tokens or 0) <= 1024
    assert ENGINE.usage(loaded, "") == Usage(1, 0, 1024, filled_tokens=0, deferred=0)


def test_unloading_ends_a_child_in_the_middle_of_a_generation(
    ask: Callable[..., inference.Completion], loaded: Loaded, spec: ModelSpec
):
    inference.warm_up()
    errors: list[BaseException] = []

    def generate() -> None:
        try:
            ask(prompt="Tell a story.", choices=("x" * 700,))
        except ModelFailed as error:
            errors.append(error)

    def generating() -> bool:
        usage = ENGINE.usage(loaded, "")
        return usage is not None and usage.busy == 1

    thread = threading.Thread(target=generate)
    thread.start()
    assert eventually(generating, 20.0)
    started = time.monotonic()
    assert ENGINE.unload(loaded, spec.model)
    assert time.monotonic() - started < embedded.END_SECONDS  # past it comes SIGKILL: SIGTERM was enough
    assert life(process_of(loaded)) is Life.DEAD
    thread.join(20)
    # Its second try may still have met the dying process, so whether it is retryable says nothing yet.
    assert len(errors) == 1
    with pytest.raises(ModelFailed, match="not there any more") as caught:
        ask(prompt="Tell a story.", choices=("x",))
    assert caught.value.data["retryable"] is False


def test_two_contexts_of_one_model_are_two_children_with_their_own_logs(
    loaded: Loaded, spec: ModelSpec, weights_home: Home
):
    other = ENGINE.load(spec.model_copy(update={"context_tokens": 512}))
    try:
        assert process_of(other) != process_of(loaded)
        assert other.api_key != loaded.api_key
        assert len(list(weights_home.logs.glob("engine-smollm2-135m-*.log"))) == 2
    finally:
        assert ENGINE.unload(other, spec.model)
    assert ENGINE.alive(loaded, spec.model)


@pytest.mark.parametrize("ends", ["sys.exit()", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_child_outlives_the_process_that_loaded_it_and_is_found_again(ends: str, weights_home: Home, spec: ModelSpec):
    script = """
import dataclasses, json, os, signal, sys
from governor.engines import engine
from governor.policy.facts import ModelSpec
loaded = engine("embedded").load(ModelSpec.model_validate_json(sys.argv[1]))
print(json.dumps(dataclasses.asdict(loaded)), flush=True)
"""
    command = [sys.executable, "-c", script + ends, spec.model_dump_json()]
    printed = json.loads(subprocess.run(command, check=False, capture_output=True, timeout=60).stdout)
    found = Loaded(**{**printed, "identity": Identity(**printed["identity"])})
    try:
        assert ENGINE.alive(found, spec.model)
        assert ENGINE.quiet(found, spec.model)
    finally:
        assert ENGINE.unload(found, spec.model)


def test_a_child_outlives_the_thread_that_loaded_it(weights_home: Home, spec: ModelSpec):
    with ThreadPoolExecutor(1) as threads:
        loaded = threads.submit(ENGINE.load, spec).result(60)
    try:
        assert ENGINE.alive(loaded, spec.model)
    finally:
        assert ENGINE.unload(loaded, spec.model)


def test_truncated_weights_are_bad_input_with_a_remedy(weights_home: Home, spec: ModelSpec, weights_file: Path):
    short = weights_home.weights / spec.source
    short.unlink()
    with weights_file.open("rb") as whole:
        short.write_bytes(whole.read(20_000_000))
    with pytest.raises(BadInput, match=r"corrupt.*not within the file bounds.*hotdesk fetch"):
        ENGINE.load(spec)
    assert not engine_children()


def test_a_file_that_is_no_model_starts_no_child(weights_home: Home, spec: ModelSpec):
    (weights_home.weights / spec.source).unlink()
    with pytest.raises(NotReady, match="hotdesk fetch"):
        ENGINE.load(spec)
    (weights_home.weights / spec.source).write_bytes(b"<html>sign in to the network</html>")
    with pytest.raises(BadInput, match="corrupt"):
        ENGINE.load(spec)
    assert not list(weights_home.logs.iterdir())


def test_a_load_past_its_deadline_leaves_no_child(weights_home: Home, spec: ModelSpec):
    with pytest.raises(ModelFailed, match="not up in time"):
        ENGINE.load(spec, deadline_seconds=0.05)
    assert not engine_children()


def settings(home: Home, spec: ModelSpec, **more: Any) -> bytes:
    facts = embedded._settings(spec, home.weights / spec.source, 30.0)
    return json.dumps({**facts, **more}).encode() + b"\n"


def test_a_child_whose_parent_dies_before_it_took_over_ends_itself(weights_home: Home, spec: ModelSpec):
    with subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(settings(weights_home, spec))
        child.stdin.flush()
        assert json.loads(child.stdout.readline())["address"]
        child.stdin.close()  # as the kernel does when the parent dies
        assert child.wait(10) == embedded_child.ORPHANED


def test_a_child_whose_parent_dies_while_it_loads_ends_itself(weights_home: Home, spec: ModelSpec):
    with subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdout.close()
        child.stdin.write(settings(weights_home, spec))
        child.stdin.close()
        assert child.wait(20) == embedded_child.ORPHANED


def test_a_child_that_nobody_takes_over_ends_at_its_bound(weights_home: Home, spec: ModelSpec):
    with subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None
        child.stdin.write(settings(weights_home, spec, bound_seconds=1))
        child.stdin.flush()
        assert child.wait(20) == -signal.SIGALRM


def test_a_child_whose_parent_is_already_another_loads_nothing(weights_home: Home, spec: ModelSpec):
    with subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(settings(weights_home, spec, parent_pid=os.getppid()))
        child.stdin.flush()
        assert child.wait(20) == embedded_child.ORPHANED  # its pipe is still open
        assert child.stdout.read() == b""


@contextlib.contextmanager
def kept_waiting(path: Path) -> Iterator[Callable[[], bool]]:
    """Whoever opens this file waits in its open(2) until the block ends (fcntl(2), leases); gives whether one does."""
    with path.open("r+b") as file:
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)  # told of an open by a signal that does nothing
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        yield lambda: fcntl.fcntl(file, fcntl.F_GETLEASE) != fcntl.F_WRLCK


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel does not end a child with its parent")
@pytest.mark.parametrize("in_a_thread", [False, True])
def test_a_process_that_is_killed_while_its_model_is_read_takes_the_child_with_it(
    in_a_thread: bool, weights_home: Home, spec: ModelSpec
):
    held = weights_home.weights / "held.gguf"
    held.write_bytes(b"GGUF")
    script = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from governor.engines import embedded, engine
from governor.policy.facts import ModelSpec
spec, held, in_a_thread = ModelSpec.model_validate_json(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "True"
embedded.checked_weights = lambda spec: held
def watch(pids):
    print(*pids, flush=True)
def load():
    engine("embedded").load(spec, watch=watch)
ThreadPoolExecutor(1).submit(load).result() if in_a_thread else load()
"""
    command = [sys.executable, "-c", script, spec.model_dump_json(), str(held), str(in_a_thread)]
    with kept_waiting(held) as is_opened, subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        loading = identify(int(parent.stdout.readline()))
        try:
            assert eventually(is_opened, 20.0)
            assert life(loading) is Life.ALIVE
            parent.kill()
            assert eventually(lambda: life(loading) is Life.DEAD, 0.5)
        finally:
            parent.kill()
            end(loading)


def test_a_process_that_is_killed_in_its_load_leaves_no_child(weights_home: Home, spec: ModelSpec):
    script = """
import sys
from governor.engines import embedded, engine
from governor.policy.facts import ModelSpec
spec = ModelSpec.model_validate_json(sys.argv[1])
def stand_still(self, loaded, model):
    print(loaded.identity.pid, flush=True)
    sys.stdin.read()
embedded.EmbeddedEngine.alive = stand_still
engine("embedded").load(spec)
"""
    command = [sys.executable, "-c", script, spec.model_dump_json()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        orphan = identify(int(parent.stdout.readline()))
        parent.kill()
    try:
        assert eventually(lambda: life(orphan) is Life.DEAD, 5.0)
    finally:
        end(orphan)
