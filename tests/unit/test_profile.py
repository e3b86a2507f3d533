"""Which profile a machine gets, and what it says there."""

import pytest

from governor.errors import BadInput
from governor.policy.facts import Level, Reading, Rung
from governor.policy.ladder import keep_alive_seconds
from governor.policy.pressure import PERSISTENCE, Assessment, Resource, assess
from governor.policy.residency import Space, make_room
from governor.policy.rules import DEFAULT_MARKS
from governor.profile import Machine, detect, load_profiles, threads

NAMES = sorted(load_profiles()["profiles"])


def machine(
    vram_gib: float = 0, memory_gib: float = 24, cores: int = 4, tags: tuple[str, ...] | None = None
) -> Machine:
    return Machine(vram_mib=vram_gib * 1024, memory_mib=memory_gib * 1024, cores=cores, tags=tags)


def every_tag() -> tuple[str, ...]:
    return tuple(p["heavy"]["ollama"] for p in load_profiles()["profiles"].values())


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOTDESK_PROFILE", raising=False)
    monkeypatch.delenv("HOTDESK_HEAVY", raising=False)


@pytest.mark.parametrize(
    ("vram_gib", "expected"),
    [
        (0, "cpu-only"),
        (2, "cpu-only"),
        (4, "gpu-4gb"),
        (6, "gpu-6gb"),
        (7.7, "gpu-8gb"),  # a card of 8 GB says a little less
        (12, "gpu-12gb"),
        (16, "gpu-12gb"),
        (23.99, "gpu-24gb"),
        (139, "gpu-24gb"),
    ],
)
def test_the_largest_profile_that_the_card_carries(vram_gib: float, expected: str):
    assert detect(machine(vram_gib)).name == expected


def test_a_named_profile_goes_before_what_was_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOTDESK_PROFILE", "gpu-6gb")
    assert detect(machine(0)).name == "gpu-6gb"


def test_a_name_that_is_no_profile_lists_those_there_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOTDESK_PROFILE", "gpu-7gb")
    with pytest.raises(BadInput) as caught:
        detect(machine(0))
    assert all(name in caught.value.remedy for name in NAMES)


@pytest.mark.parametrize(("vram_gib", "layers"), [(6, -1), (0, 0)])
def test_the_heavy_model_can_be_named_with_its_engine(vram_gib: float, layers: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOTDESK_HEAVY", "llama_server:my-7b.Q4_K_M.gguf")
    profile = detect(machine(vram_gib, tags=every_tag()))
    heavy = profile.tiers["heavy"]
    assert (heavy.engine, heavy.model, heavy.source) == ("llama_server", "my-7b.Q4_K_M", "my-7b.Q4_K_M.gguf")
    assert (heavy.gpu_layers, heavy.line, profile.advice) == (layers, "gpu", ())


def test_the_first_round_can_be_made_shorter(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOTDESK_ROUND_ITEMS", "1")
    assert detect(machine(6)).first_round_items == 1
    for wrong in ("0", "-1", "few"):
        monkeypatch.setenv("HOTDESK_ROUND_ITEMS", wrong)
        with pytest.raises(BadInput, match="HOTDESK_ROUND_ITEMS"):
            detect(machine(6))


@pytest.mark.parametrize("wrong", ["my-7b.gguf", "llama_server:", "vllm:x"])
def test_a_heavy_model_without_an_engine_that_there_is_names_the_engines(wrong: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOTDESK_HEAVY", wrong)
    with pytest.raises(BadInput, match=r"embedded, .*llama_server"):
        detect(machine(6))


def test_without_ollama_the_heavy_tier_is_the_demo_model_and_the_advice_is_exact():
    profile = detect(machine(6))
    assert profile.tiers["heavy"].demo
    assert profile.advice == ("For a real model: start Ollama and run `ollama pull qwen2.5:7b`.",)


def test_with_ollama_but_without_the_model_the_advice_is_to_pull_it():
    assert detect(machine(6, tags=("other:1b",))).advice == ("For a real model: run `ollama pull qwen2.5:7b`.",)


def test_ollama_serves_the_heavy_tier_when_it_has_the_model():
    profile = detect(machine(6, tags=every_tag()))
    heavy, tiny = profile.tiers["heavy"], profile.tiers["tiny"]
    assert (heavy.engine, heavy.model, heavy.line, heavy.demo) == ("ollama", "qwen2.5:7b", "gpu", False)
    assert (tiny.engine, tiny.line, tiny.demo) == ("embedded", "cpu", True)
    assert profile.advice == ()


def test_on_a_machine_too_small_for_it_ollamas_model_is_left_alone():
    profile = detect(machine(0, memory_gib=2, tags=every_tag()))
    assert profile.tiers["heavy"].engine == "embedded"
    assert "takes about 1600 MiB; models may take 1024 MiB" in profile.advice[0]


@pytest.mark.parametrize(
    ("cores", "memory_gib", "workers"),
    [(1, 24, 2), (2, 24, 3), (16, 24, 3), (16, 2, 2), (16, 0.5, 1), (2, 0, 3)],
)
def test_runs_at_a_time_follow_cores_and_memory(cores: int, memory_gib: float, workers: int):
    assert detect(machine(0, memory_gib, cores)).worker_limit == workers


@pytest.mark.parametrize(("cores", "expected"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4), (64, 4)])
def test_threads_of_one_model(cores: int, expected: int):
    assert threads(cores) == expected


@pytest.mark.parametrize("memory_gib", [0.5, 1, 2, 4, 64])
def test_models_in_the_hosts_memory_take_half_of_it_at_most(memory_gib: float):
    assert detect(machine(0, memory_gib)).memory_budget_mib <= memory_gib * 1024 / 2


@pytest.mark.parametrize("tags", [None, every_tag()], ids=["embedded", "ollama"])
@pytest.mark.parametrize("name", NAMES)
def test_both_tiers_are_in_memory_together_without_pressure(
    name: str, tags: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
):
    """Else the tiers of one machine evict each other, and the governor trims a machine that does what it should."""
    vram_mib = load_profiles()["profiles"][name]["needs"]["vram_mib"]
    profile = detect(machine(vram_mib / 1024, tags=tags))
    assert profile.name == name
    used_mib = sum(spec.expected_mib for spec in profile.tiers.values())
    assert make_room([], need_mib=used_mib, space=Space(budget_mib=profile.memory_budget_mib)).fits
    share = Reading(name="models_percent", value=100 * used_mib / profile.memory_budget_mib, unit="%")
    was_high = Assessment(resources={"models_percent": Resource(level=Level.HIGH, streak=PERSISTENCE)})
    assert assess([share], DEFAULT_MARKS[:1], was_high).worst == "calm"


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_says_everything_that_the_desk_needs(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOTDESK_PROFILE", name)
    profile = detect(machine(0))
    assert {spec.line for spec in profile.tiers.values()} == set(profile.slots) == {"gpu", "cpu"}
    assert min(profile.slots.values()) >= 1
    assert keep_alive_seconds(Rung.TRIM, profile.keep_alive_seconds) >= 10
    assert profile.first_round_items >= 1
    assert profile.first_round_tokens >= 1
