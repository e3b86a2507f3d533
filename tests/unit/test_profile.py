"""Which profile a machine gets, which models serve there, and what it says."""

from typing import Any

import pytest

from governor.errors import BadInput
from governor.machine import Machine
from governor.model_catalogue import TIERS, Choice, Model, catalogue
from governor.policy.facts import Kind, Level, Profile, Reading, Rung
from governor.policy.ladder import keep_alive_seconds
from governor.policy.pressure import PERSISTENCE, Assessment, Resource, assess
from governor.policy.residency import FLOOR_MIB, Space, make_room
from governor.policy.rules import DEFAULT_MARKS
from governor.profile import detect
from governor.settings import MIB
from governor.tier_models import budget_mib, fits, threads

NAMES = list(catalogue().profiles)
TAGS = tuple(model.ollama for model in catalogue().models.values() if model.ollama)
FILES = tuple(model.file for model in catalogue().models.values())


def machine(vram_gib: float = 0, memory_gib: float = 24, cores: int = 4, **more: Any) -> Machine:
    return Machine(vram_mib=vram_gib * 1024, memory_mib=memory_gib * 1024, cores=cores, **more)


def machine_for(name: str, least_mib: float = 0, **more: Any) -> Machine:
    """The smallest machine that gets this profile, with as much memory on its cards if it has one."""
    needs = catalogue().profiles[name].needs
    vram_mib = max(needs.vram_mib, least_mib) if needs.vram_mib else 0
    return machine(vram_mib / 1024, cards=max(1, needs.cards), **more)


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROFILE", "HEAVY", "CADENCE", "ROUND_ITEMS", "POWER"):
        monkeypatch.delenv(f"HOTDESK_{name}", raising=False)


@pytest.mark.parametrize(
    ("vram_gib", "cards", "expected"),
    [
        (0, 0, "cpu-only"),
        (2, 1, "cpu-only"),
        (4, 1, "gpu-4gb"),
        (6, 1, "gpu-6gb"),
        (7.7, 1, "gpu-8gb"),  # a card of 8 GB says a little less
        (12, 1, "gpu-12gb"),
        (16, 1, "gpu-12gb"),
        (23.99, 1, "gpu-24gb"),
        (44.9, 1, "gpu-48gb-plus"),  # what is left of 48 GB with error correction
        (139, 1, "gpu-48gb-plus"),
        (48, 2, "multi-gpu"),
        (8, 2, "multi-gpu"),
        (6, 2, "gpu-6gb"),  # two small ones carry what one of their size together does
    ],
)
def test_the_largest_profile_that_the_cards_carry(vram_gib: float, cards: int, expected: str):
    assert detect(machine(vram_gib, cards=cards)).name == expected


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
    profile = detect(machine(vram_gib, tags=TAGS))
    heavy = profile.tiers["heavy"]
    assert (heavy.engine, heavy.model, heavy.source) == ("llama_server", "my-7b.Q4_K_M", "my-7b.Q4_K_M.gguf")
    assert (heavy.gpu_layers, heavy.line, profile.advice) == (layers, "gpu", ())


@pytest.mark.parametrize("name", ["multi-gpu", "gpu-48gb-plus", "gpu-6gb", "cpu-only"])
@pytest.mark.parametrize(
    ("named", "model"),
    [
        ("ollama:qwen2.5:7b", "qwen2.5:7b"),
        ("ollama:qwen2.5-coder:7b", "qwen2.5-coder:7b"),
        ("ollama:llama3.3:70b", "llama3.3:70b"),
        ("llama_server:qwen2.5-7b-instruct-q4_k_m.gguf", "qwen2.5:7b"),
    ],
)
def test_a_named_model_of_the_catalogue_has_its_own_size(
    named: str, model: str, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOTDESK_HEAVY", named)
    known, heavy = catalogue().models[model], detect(machine_for(name)).tiers["heavy"]
    assert (heavy.parameters_billion, heavy.kinds) == (known.parameters_billion, frozenset())
    assert known.size_bytes <= heavy.expected_mib * MIB < 1.4 * known.size_bytes


@pytest.mark.parametrize(("name", "like"), [("multi-gpu", "qwen2.5:7b"), ("gpu-6gb", "llama3.2:3b")])
def test_a_named_model_that_nobody_knows_is_taken_for_the_best_that_fits(
    name: str, like: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOTDESK_HEAVY", "ollama:mine:latest")
    profile = detect(machine_for(name))
    assert profile.tiers["heavy"].parameters_billion == catalogue().models[like].parameters_billion
    assert profile.tiers["heavy"].expected_mib <= profile.memory_budget_mib


@pytest.mark.parametrize("variable", ["HOTDESK_ROUND_ITEMS", "HOTDESK_CADENCE"])
def test_what_is_no_whole_number_is_named(variable: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(variable, "1")
    profile = detect(machine(0))
    assert 1 in (profile.first_round_items, profile.cadence)
    for wrong in ("0", "-1", "few", "²", *(["25"] if variable == "HOTDESK_CADENCE" else [])):
        monkeypatch.setenv(variable, wrong)
        with pytest.raises(BadInput, match=variable):
            detect(machine(6))


@pytest.mark.parametrize("wrong", ["my-7b.gguf", "llama_server:", "vllm:x"])
def test_a_heavy_model_without_an_engine_that_there_is_names_the_engines(wrong: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOTDESK_HEAVY", wrong)
    with pytest.raises(BadInput, match=r"embedded, .*llama_server"):
        detect(machine(6))


def served(profile: Profile) -> dict[str, str]:
    return {tier: f"{spec.engine} {spec.model}" for tier, spec in profile.tiers.items()}


DEMO = "embedded smollm2-135m"


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ({}, {"heavy": DEMO, "tiny": DEMO}),
        ({"tags": ("other:1b",)}, {"heavy": DEMO, "tiny": DEMO}),
        ({"tags": ("qwen2.5:7b",)}, {"heavy": "ollama qwen2.5:7b", "tiny": DEMO}),
        # The best of those that are there; a smaller one in its place before the demo model.
        ({"tags": ("llama3.2:3b", "qwen2.5:7b")}, {"heavy": "ollama qwen2.5:7b", "tiny": DEMO}),
        ({"tags": ("llama3.2:3b",)}, {"heavy": "ollama llama3.2:3b", "tiny": DEMO}),
        # Far too large for the card: left alone.
        ({"tags": ("qwen2.5:32b",)}, {"heavy": DEMO, "tiny": DEMO}),
        (
            {"tags": TAGS},
            {
                "heavy": "ollama qwen2.5:7b",
                "coder": "ollama qwen2.5-coder:7b",
                "tiny": "ollama qwen2.5:1.5b",
                "embedder": "ollama nomic-embed-text:latest",
            },
        ),
        # Files: llama-server runs them on the card, the embedded engine in the host's memory only.
        (
            {"files": FILES, "llama_server": True},
            {
                "heavy": "llama_server Qwen2.5-7B-Instruct-Q4_K_M",
                "coder": "llama_server Qwen2.5-Coder-7B-Instruct-Q4_K_M",
                "tiny": "llama_server Qwen2.5-1.5B-Instruct-Q4_K_M",
                "embedder": "llama_server nomic-embed-text-v1.5.f16",
            },
        ),
        (
            {
                "files": (
                    "qwen2.5-7b-instruct-q4_k_m.gguf",
                    "all-MiniLM-L6-v2.F16.gguf",
                    "Qwen2.5-0.5B-Instruct-Q4_K_M.gguf",
                )
            },
            {
                "heavy": DEMO,
                "tiny": "embedded Qwen2.5-0.5B-Instruct-Q4_K_M",
                "embedder": "embedded all-MiniLM-L6-v2.F16",
            },
        ),
        (
            {"files": ("qwen2.5-7b-instruct-q4_k_m.GGUF",), "llama_server": True},
            {"heavy": "llama_server qwen2.5-7b-instruct-q4_k_m.GGUF", "tiny": DEMO},
        ),
    ],
)
def test_each_tier_is_served_by_the_best_model_that_is_there_and_fits(there: dict[str, Any], expected: dict[str, str]):
    assert served(detect(machine(6, **there))) == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "model", [model for model in catalogue().models.values() if model.ollama], ids=lambda m: m.name
)
def test_any_one_model_that_is_there_and_fits_is_taken_rather_than_the_demo(model: Model, name: str):
    on, written = machine_for(name, tags=(model.ollama,)), catalogue().profiles[name]
    tier = {Kind.CODE: "coder", Kind.EMBED: "embedder"}.get(next(iter(model.kinds), Kind.CLASSIFY), "heavy")
    choice = Choice(model=model.name, context_tokens=min(4096, model.trained_tokens))
    if fits(choice, tier, written, on):
        assert detect(on).tiers[tier].source == model.ollama


@pytest.mark.parametrize(
    ("named", "vram_mib", "budget", "heavy"),
    [
        ("gpu-6gb", 6144, 5700, "qwen2.5:7b"),
        ("gpu-6gb", 5600, 5200, "llama3.2:3b"),
        ("gpu-48gb-plus", 6144, 5744, "qwen2.5:7b"),
        ("gpu-48gb-plus", 81920, 77824, "llama3.3:70b"),
        ("cpu-only", 300, 0, "smollm2-135m"),
    ],
)
def test_models_get_no_more_than_the_cards_have_less_what_stays_free(
    named: str, vram_mib: float, budget: float, heavy: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOTDESK_PROFILE", named)
    on = machine(vram_mib / 1024, tags=TAGS)
    assert budget_mib(catalogue().profiles[named], on) == budget
    profile = detect(on)
    assert profile.tiers["heavy"].model == heavy


@pytest.mark.parametrize("vram_mib", [0, 100, 410, 6144])
def test_the_demo_model_has_room_in_the_hosts_memory_beside_any_card(vram_mib: float):
    profile = detect(machine(vram_mib / 1024))
    assert all(spec.expected_mib <= profile.memory_budget_mib for spec in profile.tiers.values())


def test_without_a_card_a_file_is_enough_for_the_heavy_tier():
    heavy = detect(machine(0, files=FILES)).tiers["heavy"]
    assert (heavy.engine, heavy.source, heavy.memory, heavy.demo) == (
        "embedded",
        "Qwen2.5-1.5B-Instruct-Q4_K_M.gguf",
        "ram",
        False,
    )


def test_a_model_serves_one_tier():
    """It has one context for the whole fleet, and a server that goes by names would mix the two up."""
    assert served(detect(machine(0, tags=("qwen2.5:0.5b",)))) == {"heavy": "ollama qwen2.5:0.5b", "tiny": DEMO}


@pytest.mark.parametrize(
    ("vram_gib", "more", "advice"),
    [
        (6, {}, "For a real model: start Ollama and run `hotdesk model pull qwen2.5:7b`."),
        (6, {"tags": ("other:1b",)}, "For a real model: run `hotdesk model pull qwen2.5:7b`."),
        (0, {"memory_gib": 2, "tags": ()}, "For a real model: run `hotdesk model pull qwen2.5:0.5b`."),
        (
            0,
            {"memory_gib": 1, "tags": TAGS},
            "qwen2.5:1.5b takes about 1600 MiB; models may take 512 MiB on this machine.",
        ),
        (
            6,
            {"tags": ("llama3.2:3b",), "refused": ("qwen2.5:7b",)},
            "qwen2.5:7b is not used: its weights are others than they should be."
            " Run `ollama rm qwen2.5:7b`, then `hotdesk model pull qwen2.5:7b`.",
        ),
    ],
)
def test_the_advice_is_exact(vram_gib: float, more: dict[str, Any], advice: str):
    assert detect(machine(vram_gib, **more)).advice == (advice,)


def test_with_a_real_heavy_model_there_is_nothing_to_advise():
    assert detect(machine(6, tags=("llama3.2:3b",))).advice == ()


@pytest.mark.parametrize(("memory_gib", "tiny"), [(4, DEMO), (8, "ollama qwen2.5:0.5b")])
def test_the_tiny_model_is_a_real_one_where_it_has_room_beside_the_heavy_one(memory_gib: float, tiny: str):
    tiers = served(detect(machine(0, memory_gib, tags=("qwen2.5:1.5b", "qwen2.5:0.5b"))))
    assert (tiers["heavy"], tiers["tiny"]) == ("ollama qwen2.5:1.5b", tiny)


@pytest.mark.parametrize(
    ("cores", "memory_gib", "mains", "places"),
    [
        (1, 24, True, 6),
        (2, 24, True, 12),
        (2, 8, True, 12),
        (16, 24, True, 14),
        (2, 2, True, 8),
        (2, 1, True, 4),
        (16, 0.2, True, 1),
        (2, 0, True, 12),  # its memory cannot be read
        (2, 8, False, 6),
        (16, 0.2, False, 1),  # half of what is usual, at least one
    ],
)
def test_places_for_agents_follow_cores_memory_and_power(cores: int, memory_gib: float, mains: bool, places: int):
    assert detect(machine(0, memory_gib, cores, on_mains=mains), platform="linux").worker_limit == places


@pytest.mark.parametrize(
    ("cores", "memory_gib", "mains", "runs"),
    [(1, 24, True, 2), (2, 24, True, 3), (16, 24, True, 4), (16, 2, True, 2), (16, 0.5, True, 1), (16, 24, False, 2)],
)
@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_where_runs_cannot_be_forked_few_run_at_a_time(
    platform: str, cores: int, memory_gib: float, mains: bool, runs: int
):
    assert detect(machine(0, memory_gib, cores, on_mains=mains), platform=platform).worker_limit == runs


def test_no_machine_has_fewer_places_than_a_smaller_one():
    places = [detect(machine_for(each), platform="linux").worker_limit for each in reversed(NAMES)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("vram_gib", "mains", "named", "cadence"),
    [
        (0, True, "", 2),
        (4, True, "", 2),
        (6, True, "", 1),
        (0, False, "", 2),
        (6, False, "", 1),
        (0, False, "1", 1),
        (6, True, "24", 24),
    ],
)
def test_agents_run_less_often_on_a_weak_machine_whatever_its_power(
    vram_gib: float, mains: bool, named: str, cadence: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOTDESK_CADENCE", named)
    profile = detect(machine(vram_gib, on_mains=mains))
    assert (profile.cadence, profile.power) == (cadence, "mains" if mains else "battery")


@pytest.mark.parametrize(("cores", "expected"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4), (64, 4)])
def test_threads_of_one_model(cores: int, expected: int):
    assert threads(cores) == expected


@pytest.mark.parametrize("tags", [None, TAGS], ids=["embedded", "ollama"])
@pytest.mark.parametrize("memory_gib", [0.5, 1, 2, 4, 64])
def test_models_in_the_hosts_memory_take_half_of_it_at_most(memory_gib: float, tags: tuple[str, ...] | None):
    profile = detect(machine(0, memory_gib, tags=tags))
    assert profile.memory_budget_mib <= memory_gib * 1024 / 2
    assert all(spec.expected_mib <= profile.memory_budget_mib for spec in profile.tiers.values() if not spec.demo)


@pytest.mark.parametrize("vram_gib", [48, 80, 141])
def test_a_larger_card_than_the_profile_was_made_for_holds_more_models_at_once(vram_gib: float):
    assert detect(machine(vram_gib)).memory_budget_mib >= 0.95 * vram_gib * 1024


@pytest.mark.parametrize("tags", [None, TAGS], ids=["embedded", "ollama"])
@pytest.mark.parametrize("name", NAMES)
def test_the_tiers_but_the_coder_are_in_memory_together_without_pressure(name: str, tags: tuple[str, ...] | None):
    """Else the tiers of one machine evict each other, and the governor trims a machine that does what it should."""
    given_mib = catalogue().profiles[name].budget_mib
    profile = detect(machine_for(name, given_mib + FLOOR_MIB, tags=tags))
    assert profile.name == name
    used_mib = sum(spec.expected_mib for tier, spec in profile.tiers.items() if tier != "coder")
    assert make_room([], need_mib=used_mib, space=Space(budget_mib=profile.memory_budget_mib)).fits
    share = Reading(name="models_percent", value=100 * used_mib / profile.memory_budget_mib, unit="%")
    was_high = Assessment(resources={"models_percent": Resource(level=Level.HIGH, streak=PERSISTENCE)})
    assert assess([share], DEFAULT_MARKS[:1], was_high).worst == "calm"


@pytest.mark.parametrize("name", NAMES)
def test_with_all_models_there_every_tier_is_served_within_the_budget(name: str):
    profile = detect(machine_for(name, tags=TAGS))
    assert tuple(profile.tiers) == TIERS
    assert all(spec.expected_mib <= profile.memory_budget_mib for spec in profile.tiers.values())
    assert not any(spec.demo for spec in profile.tiers.values())
    assert profile.tiers["coder"].kinds == {Kind.CODE}
    assert profile.tiers["embedder"].embeds
    assert {profile.tiers[tier].memory for tier in ("tiny", "embedder")} == {"ram"}


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_says_everything_that_the_desk_needs(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOTDESK_PROFILE", name)
    profile = detect(machine(0))
    assert {spec.line for spec in profile.tiers.values()} == set(profile.slots) == {"gpu", "cpu"}
    assert min(profile.slots.values()) >= 1
    assert keep_alive_seconds(Rung.TRIM, profile.keep_alive_seconds) >= 10
    assert profile.first_round_items >= 1
    assert profile.first_round_tokens >= 1
