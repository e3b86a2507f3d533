"""Sections of the router's presets: what a model is told, and what cannot stand there."""

from pathlib import Path

import pytest

from governor.engines import llama_presets
from governor.errors import BadInput, NotReady
from governor.policy.facts import Kind, ModelSpec
from governor.settings import Home
from tests.random_gguf import TEXT, UINT32, header, key

SPEC = ModelSpec(
    engine="llama_server",
    model="small",
    source="small.gguf",
    line="gpu",
    context_tokens=2048,
    parameters_billion=0.5,
    expected_mib=500,
)


@pytest.mark.parametrize("name", ["", "*", "default", "qwen:7b", "a]b", "a b", "-x", "a\nb"])
def test_a_name_that_the_router_would_change_is_refused(name: str, hotdesk_home: Home):
    with pytest.raises(BadInput, match="Rename it"):
        llama_presets.section(SPEC.model_copy(update={"model": name}))


def test_weights_that_cannot_stand_in_the_file_are_not_ready(hotdesk_home: Home):
    with pytest.raises(NotReady, match="hotdesk fetch"):
        llama_presets.section(SPEC)
    (hotdesk_home.weights / "a#b.gguf").write_bytes(b"weights")
    with pytest.raises(NotReady, match="Rename the file"):
        llama_presets.section(SPEC.model_copy(update={"source": "a#b.gguf"}))


@pytest.mark.parametrize(("layers", "told"), [(-1, "999"), (0, "0"), (20, "20")])
def test_a_section_says_the_layers_and_the_context_of_all_slots(layers: int, told: str, hotdesk_home: Home):
    (hotdesk_home.weights / SPEC.source).write_bytes(b"weights")
    section = llama_presets.section(SPEC.model_copy(update={"gpu_layers": layers, "engine_slots": 3}))
    assert (section["n-gpu-layers"], section["ctx-size"], section["parallel"]) == (told, "6144", "3")
    assert ("log-verbosity" in section) == (layers != 0)


@pytest.mark.parametrize(("says", "pooling"), [(True, None), (False, "mean")])
def test_an_embedding_model_reads_a_text_at_once_and_its_file_decides_how_vectors_become_one(
    says: bool, pooling: str | None, hotdesk_home: Home
):
    kept = [key("general.architecture", TEXT, "bert"), *([key("bert.pooling_type", UINT32, 2)] if says else [])]
    (hotdesk_home.weights / SPEC.source).write_bytes(header(kept, [("token_embd.weight", 256, 2)]) + bytes(288))
    section = llama_presets.section(SPEC.model_copy(update={"kinds": frozenset({Kind.EMBED})}))
    assert (section["embeddings"], section["batch-size"], section["ubatch-size"]) == ("true", "2048", "2048")
    assert section.get("pooling") == pooling
    assert "embeddings" not in llama_presets.section(SPEC)
    assert "embeddings" not in llama_presets.section(SPEC.model_copy(update={"kinds": frozenset({Kind.CODE})}))


@pytest.mark.parametrize("kind", ["q9_9", "", "f16\n[evil]\nmodel = /etc/passwd"])
def test_a_cache_type_that_it_does_not_have_is_refused(kind: str, hotdesk_home: Home):
    (hotdesk_home.weights / SPEC.source).write_bytes(b"weights")
    with pytest.raises(BadInput, match="Use one of: f16, q8_0"):
        llama_presets.section(SPEC.model_copy(update={"cache_type": kind}))


@pytest.mark.parametrize(("key", "value"), [("a", "1\n[evil]"), ("a\rb", "1"), ("a", "\x7f"), ("a", "\0")])
def test_nothing_that_would_begin_another_line_is_written(key: str, value: str, tmp_path: Path):
    presets = tmp_path / "models.ini"
    llama_presets.empty(presets)
    with pytest.raises(BadInput, match="control character"):
        llama_presets.write(presets, "small", {key: value})
    assert presets.read_text() == ""


def test_writing_one_section_keeps_the_others(tmp_path: Path):
    presets = tmp_path / "models.ini"
    llama_presets.empty(presets)
    llama_presets.write(presets, "a", {"ctx-size": "1"})
    llama_presets.write(presets, "b", {"ctx-size": "2"})
    llama_presets.write(presets, "a", {"ctx-size": "3"})
    assert presets.read_text() == "[a]\nctx-size = 3\n[b]\nctx-size = 2\n"


@pytest.mark.parametrize("content", [b"no section\n", b"[m]\nmodel = \xff\n"])
def test_presets_that_cannot_be_read_are_not_ready(content: bytes, tmp_path: Path):
    presets = tmp_path / "models.ini"
    presets.write_bytes(content)
    with pytest.raises(NotReady, match="hotdesk down"):
        llama_presets.write(presets, "a", {})


@pytest.mark.parametrize("entry", [{}, {"status": None}, {"status": {"preset": ""}}, {"status": {"preset": "x = 1"}}])
def test_an_entry_that_does_not_say_what_it_was_told_is_not_the_same(entry: dict[str, object]):
    assert not llama_presets.same({"ctx-size": "1"}, entry)
