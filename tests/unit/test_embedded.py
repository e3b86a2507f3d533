"""What the embedded engine makes of weights and of a child's log, without a child."""

import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from governor.engines import embedded, embedded_log, engine, names
from governor.engines.protocol import Loaded, Running
from governor.errors import BadInput, HotdeskError, ModelFailed, NotReady
from governor.policy.facts import ModelSpec
from governor.processes import Identity, boot_id, pid_namespace
from governor.settings import Home

SPEC = ModelSpec(
    engine="embedded",
    model="org/small model",
    source="w.gguf",
    line="cpu",
    context_tokens=2048,
    parameters_billion=0.135,
    expected_mib=260,
)
# As xllamacpp 2026.10 wrote them, shortened to what is read.
TRUNCATED = """0.00.003.999 I srv    load_model: loading model 'w.gguf'
0.00.024.519 E llama_model_load: error loading model: tensor 'blk.16.ffn_down.weight' data is not within bounds
0.00.024.545 E cmn  common_init_: failed to load model 'w.gguf'
0.00.024.896 E srv          init: exiting due to model loading error
"""
NO_MEMORY_FOR_CONTEXT = """0.14.016.417 E ggml_aligned_malloc: insufficient memory (attempted to allocate 2197265.62 MB)
0.14.341.027 E llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache
0.14.341.046 E cmn  common_init_: failed to create context with model 'w.gguf'
"""
NO_MEMORY_FOR_WEIGHTS = """0.00.1 E llama_model_load: error loading model: unable to allocate CUDA0 buffer
0.00.1 E cmn  common_init_: failed to load model 'w.gguf'
"""


def test_there_is_one_object_per_engine_and_an_unknown_name_lists_the_known_ones():
    assert engine("embedded") is engine("embedded")
    assert engine("ollama").name == "ollama"
    with pytest.raises(BadInput, match="embedded, llama_server, llama_swap, lm_studio, ollama"):
        engine("lamma")


def test_the_names_of_all_engines_are_listed():
    assert names() == ("embedded", "llama_server", "llama_swap", "lm_studio", "ollama")


def test_a_kind_of_context_that_it_does_not_know_is_bad_input(hotdesk_home: Home):
    (hotdesk_home.weights / SPEC.source).write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 1, 5))
    with pytest.raises(BadInput, match="q8_0"):
        engine("embedded").load(SPEC.model_copy(update={"cache_type": "q5_1"}))


def test_a_child_is_found_by_its_command_line_and_loads_until_it_answers():
    about = [embedded.CHILD_MODULE, "org/small model", "2048", "3"]
    command = [sys.executable, "-S", "-c", "input()", *about]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        try:
            assert eventually_listed(child.pid) == Running("org/small model", "loading", (child.pid,), 2048, 3)
        finally:
            child.kill()
    assert child.pid not in [pid for row in engine("embedded").residents() or [] for pid in row.pids]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux shows the environment of a process")
def test_no_key_of_a_cloud_tier_reaches_a_child_which_outlives_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GROQ_API_KEY", "FAKE-canary-4711")
    monkeypatch.setenv("SOMETHING_ELSE", "stays")
    child = embedded._spawn(tmp_path / "log", SPEC)
    try:
        told = Path(f"/proc/{child.pid}/environ").read_bytes()
    finally:
        child.kill()
        child.communicate()
    assert b"FAKE-canary" not in told
    assert b"SOMETHING_ELSE=stays" in told


def eventually_listed(pid: int) -> Running | None:
    """Its row, as soon as the process has the command line that it was started with."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        row = next((row for row in engine("embedded").residents() or [] if pid in row.pids), None)
        if row is not None:
            return row
    return None


def test_the_embedded_engine_is_well_where_it_is_installed():
    assert engine("embedded").health() is None


def test_missing_weights_name_the_command_that_fetches_them(hotdesk_home: Home):
    with pytest.raises(NotReady, match="hotdesk fetch"):
        embedded.checked_weights(SPEC)


@pytest.mark.parametrize(
    "content",
    [b"", b"GGUF", b"<html>not a model</html> at all", struct.pack("<4sIQQ", b"GGUF", 3, 0, 5), b"\0" * 100],
)
def test_weights_that_are_no_gguf_file_are_corrupt(content: bytes, hotdesk_home: Home):
    (hotdesk_home.weights / SPEC.source).write_bytes(content)
    with pytest.raises(BadInput, match=r"corrupt.*hotdesk fetch"):
        embedded.checked_weights(SPEC)


def test_the_log_is_named_after_model_and_context_and_stays_in_its_folder(hotdesk_home: Home):
    assert embedded.log_of(SPEC) == hotdesk_home.logs / "engine-org-small-model-2048.log"


@pytest.mark.parametrize(
    ("said", "late", "kind", "words"),
    [
        (TRUNCATED, False, BadInput, "not within bounds"),
        (TRUNCATED, True, ModelFailed, "not up in time"),
        (NO_MEMORY_FOR_CONTEXT, False, ModelFailed, "insufficient memory"),
        (NO_MEMORY_FOR_WEIGHTS, False, ModelFailed, "unable to allocate"),
        ("Traceback\nImportError: no xllamacpp\n", False, ModelFailed, "no xllamacpp"),
        ("", False, ModelFailed, "its log is empty"),
    ],
)
def test_a_failed_load_says_what_the_log_says(
    said: str, late: bool, kind: type[HotdeskError], words: str, hotdesk_home: Home, tmp_path: Path
):
    log = tmp_path / "engine.log"
    log.write_text(said)
    error = embedded_log.why_not(SPEC, log, late)
    assert type(error) is kind
    assert words in error.happened
    assert error.remedy


def test_a_key_is_not_shown():
    assert "secret" not in repr(Loaded("http://127.0.0.1:1", "secret", None, None))


def test_a_child_that_is_gone_is_neither_alive_nor_quiet_and_has_left_its_memory():
    gone = Loaded("http://127.0.0.1:9", "k", Identity(boot_id(), pid_namespace(), 2**22 - 1, 1), None)
    child_engine = engine("embedded")
    assert not child_engine.alive(gone, "m")
    assert not child_engine.quiet(gone, "m")
    assert child_engine.unload(gone, "m")


def test_a_row_whose_load_never_ended_is_not_asked():
    assert not engine("embedded").quiet(Loaded("", None, None, None), "m")


def test_a_log_that_cannot_be_written_is_not_ready_and_starts_no_process(hotdesk_home: Home):
    (hotdesk_home.weights / SPEC.source).write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 1, 5))
    hotdesk_home.logs.rmdir()
    with pytest.raises(NotReady, match="cannot be started"):
        engine("embedded").load(SPEC)
