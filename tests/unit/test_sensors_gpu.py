"""What the NVIDIA driver says, one figure at a time, and what is left when it loses its card (invariant 24)."""

import pytest

from governor.memory import Vram
from governor.policy.facts import Reading
from governor.sensors import gpu
from governor.sensors.gpu import CHEAP, COSTLY, Card
from tests.fakes.nvml import LOST, NOT_SUPPORTED, FakeNvml
from tests.unit.readings import values

PROCESSES = "nvmlDeviceGetComputeRunningProcesses"
ALL = {
    "vram_total_mib": 6144,
    "vram_free_mib": 2048,
    "vram_unattributed_mib": 1024,
    "vram_others_mib": 2048,
    "gpu_temperature_c": 61,
    "gpu_slowed": 0,
    "gpu_power_w": 45.5,
    "gpu_busy_percent": 37,
    "gpu_energy_j": 1234,
}


def test_a_card_says_its_memory_its_heat_and_what_it_draws():
    nvml = FakeNvml()
    assert values(gpu.read(nvml, engine_pids=(11,))) == ALL
    assert nvml.open == 0, "the library is closed again"


def test_a_look_in_between_leaves_out_what_takes_milliseconds():
    card = Card(nvml=FakeNvml(*[f"nvmlDeviceGet{call}" for call in ("UtilizationRates", "TotalEnergyConsumption")]))
    assert [r.name for r in card.readings(costly=False)] == list(CHEAP)
    assert [r.name for r in card.readings()] == [*CHEAP, *COSTLY]


@pytest.mark.parametrize(
    ("nvml", "why"),
    [
        (FakeNvml("nvmlInit"), "no NVIDIA driver (Not Supported)"),
        (FakeNvml("nvmlDeviceGetCount"), "the NVIDIA driver does not answer (Not Supported)"),
        (FakeNvml(cards=0), "the NVIDIA driver sees no card"),
        (FakeNvml("nvmlDeviceGetHandleByIndex"), "the NVIDIA driver does not answer (Not Supported)"),
    ],
    ids=["no driver", "no answer", "no card", "no access"],
)
def test_a_machine_without_a_usable_card_is_unknown(nvml: FakeNvml, why: str):
    readings = gpu.read(nvml)
    assert values(readings) == dict.fromkeys(ALL)
    assert {r.why for r in readings} == {why}
    assert (Card(nvml=nvml).memory_mib(), Card(nvml=nvml).held_mib([11])) == (None,) * 2
    assert gpu.total_mib_by_card(nvml) == {}
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("broken", "unknown"),
    [
        (["MemoryInfo"], {"vram_total_mib", "vram_free_mib", "vram_unattributed_mib", "vram_others_mib"}),
        (["ComputeRunningProcesses"], {"vram_unattributed_mib", "vram_others_mib"}),
        (["GraphicsRunningProcesses"], {"vram_unattributed_mib", "vram_others_mib"}),
        (["UtilizationRates"], {"gpu_busy_percent"}),
        (["TotalEnergyConsumption"], {"gpu_energy_j"}),
        (["PowerUsage"], {"gpu_power_w"}),
        (["TemperatureV", "Temperature"], {"gpu_temperature_c"}),
        (["CurrentClocksEventReasons", "CurrentClocksThrottleReasons"], {"gpu_slowed"}),
        (["UUID"], set()),
    ],
)
def test_what_a_card_hides_hides_nothing_else(broken: list[str], unknown: set[str]):
    calls = [f"nvmlDeviceGet{call}" for call in broken]
    for nvml in (FakeNvml(*calls), FakeNvml(absent=tuple(calls))):  # not on this card; not in this package
        readings = gpu.read(nvml, engine_pids=(11,))
        assert values(readings) == {name: None if name in unknown else value for name, value in ALL.items()}
        assert nvml.open == 0


def test_an_older_driver_is_asked_by_the_older_name():
    nvml = FakeNvml("nvmlDeviceGetTemperatureV", absent=("nvmlDeviceGetCurrentClocksEventReasons",))
    nvml.answers["nvmlDeviceGetCurrentClocksThrottleReasons"] = 0x40
    seen = values(gpu.read(nvml))
    assert (seen["gpu_temperature_c"], seen["gpu_slowed"]) == (62, 1)


@pytest.mark.parametrize(
    ("reasons", "slowed", "words"),
    [
        (0x0, 0, ""),
        (0x1, 0, ""),  # idle
        (0x4, 0, ""),  # at its power cap
        (0x100 | 0x10 | 0x2, 0, ""),  # set by hand
        (0x8, 1, "hardware slowdown"),
        (0x20, 1, "too hot, says the driver"),
        (0x40 | 0x8, 1, "hardware slowdown, too hot"),
        (0x80 | 0x4, 1, "power brake"),
    ],
)
def test_only_heat_and_missing_power_are_a_slowdown(reasons: int, slowed: float, words: str):
    nvml = FakeNvml()
    nvml.answers["nvmlDeviceGetCurrentClocksEventReasons"] = reasons
    (reading,) = [r for r in gpu.read(nvml) if r.name == "gpu_slowed"]
    assert (reading.value, reading.about) == (slowed, words)


@pytest.mark.parametrize(
    ("computing", "ours", "unattributed", "others"),
    [
        ([], (), 3072, 4096),
        ([(11, 2), (12, 1)], (), 1024, 4096),
        ([(11, 2), (12, 1)], (11, 12, 11), 1024, 1024),
        ([(11, 2), (12, 1)], (99,), 1024, 4096),  # ours ended
        ([(11, 2), (12, 1)], (99, 11), 1024, 2048),
        ([(11, 2), (12, 1)], (77,), 1024, None),  # ours is alive, and the driver knows it by another number
        ([(11, 2), (12, 1)], (77, 99), 1024, None),
        ([(11, 2), (12, 1)], (77, 11), 1024, 2048),  # a router that holds nothing, and its child
        ([], (77,), 3072, None),
        ([], (99,), 3072, 4096),
        ([(11, 9)], (11,), 0, 0),  # more than is in use: two lists, or two moments
        ([(11, None)], (), None, 4096),  # nobody of ours: all of it is others', whoever they are
        ([(11, None)], (11,), None, None),
    ],
)
def test_what_is_whose_on_the_card(
    computing: list[tuple[int, int | None]], ours: tuple[int, ...], unattributed: float | None, others: float | None
):
    nvml = FakeNvml()
    nvml.computing = [(pid, None if gib is None else gib * 1024**3) for pid, gib in computing]
    seen = values(Card(nvml=nvml, running=lambda pid: pid != 99).readings(engine_pids=ours))
    assert (seen["vram_unattributed_mib"], seen["vram_others_mib"]) == (unattributed, others)


def test_a_driver_that_names_no_process_of_ours_says_so_until_it_ended():
    alive = {77}
    card = Card(nvml=FakeNvml(), running=alive.__contains__)

    def others() -> Reading:
        return next(r for r in card.memory_readings([77]) if r.name == "vram_others_mib")

    assert others().why == "the driver names none of our processes, which are alive"
    alive.clear()
    assert others().value == 4096


def test_a_card_that_is_lost_is_unknown_and_is_found_again_by_a_later_look():
    nvml = FakeNvml()
    card = Card(nvml=nvml)
    assert values(card.readings(engine_pids=(11,))) == ALL
    nvml.lost = True
    assert set(values(card.readings()).values()) == {None}
    assert card.memory_mib() is None
    assert {r.why for r in card.readings()} == {"the NVIDIA driver does not answer (GPU is lost)"}
    nvml.back = True
    assert values(card.readings(engine_pids=(11,))) == ALL
    assert nvml.open == 1


def test_a_card_that_is_lost_in_the_middle_of_a_look_takes_the_rest_of_it():
    nvml = FakeNvml()
    card = Card(nvml=nvml)
    nvml.broken = {PROCESSES: LOST, "nvmlDeviceGetHandleByIndex": LOST}
    seen = {r.name: r for r in card.readings()}
    assert seen["vram_free_mib"].value == 2048
    assert {seen[name].why for name in list(ALL)[4:]} == {"the driver lost the card (GPU is lost)"}
    nvml.broken = {}
    assert values(card.readings(engine_pids=(11,))) == ALL


def test_another_object_of_the_process_does_not_keep_a_lost_card_lost():
    nvml = FakeNvml()
    looking, measuring = Card(nvml=nvml), Card(nvml=nvml)
    nvml.lost = nvml.back = True
    assert measuring.memory_mib() is None
    looking.readings()
    assert values(looking.readings())["vram_free_mib"] == 2048
    assert nvml.starts == 2, "the library was closed by all of them and started anew"
    assert measuring.memory_mib() == (2048, 6144)


def test_a_driver_that_comes_later_is_found_and_costs_a_hot_loop_nothing():
    nvml = FakeNvml("nvmlInit")
    card = Card(nvml=nvml)
    assert set(values(card.readings()).values()) == {None}
    nvml.broken = {}
    assert card.memory_mib() is None
    assert values(card.readings())["vram_free_mib"] == 2048
    assert (card.memory_mib(), card.uuid, card.held_mib([11, 12])) == ((2048, 6144), "GPU-fake", 3072)


def test_a_library_that_does_not_close_spoils_no_reading():
    assert values(gpu.read(FakeNvml("nvmlShutdown")))["vram_free_mib"] == 2048


def test_the_memory_of_several_cards_counts_together():
    nvml = FakeNvml(cards=2)
    assert gpu.total_mib_by_card(nvml) == {"GPU-fake": 6144, "GPU-fake-1": 6144}
    assert nvml.open == 0
    both = Vram(gpu.open_cards(nvml))
    assert (both.place, both.free_mib(), both.total_mib()) == ("GPU-fake+GPU-fake-1", 4096, 12288)
    assert (both.held_mib([11]), both.held_mib([])) == (4096, None)


def test_a_card_that_opens_and_does_not_say_makes_all_of_them_unknown():
    nvml = FakeNvml(cards=2)
    both = Vram(gpu.open_cards(nvml))
    nvml.broken = {PROCESSES: NOT_SUPPORTED}
    assert (both.free_mib(), both.held_mib([11])) == (4096, None)
    nvml.broken = {"nvmlDeviceGetMemoryInfo": NOT_SUPPORTED}
    assert (both.free_mib(), both.total_mib()) == (None, None)


@pytest.mark.parametrize(("dead", "place"), [({1}, "GPU-fake+GPU-fake-2"), ({0}, "GPU-fake-1+GPU-fake-2")])
def test_a_dead_card_is_left_out_and_the_others_are_known(dead: set[int], place: str):
    nvml = FakeNvml(cards=3)
    nvml.dead = dead
    alive = Vram(gpu.open_cards(nvml))
    assert (alive.place, alive.cards, alive.free_mib(), alive.total_mib()) == (place, 2, 4096, 12288)
    nvml.dead = {0, 1, 2}
    assert Vram(gpu.open_cards(nvml)).total_mib() is None
    assert gpu.total_mib_by_card(nvml) == {}


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        (None, [0, 1, 2]),
        ("1", [1]),
        ("2, 0", [2, 0]),
        ("GPU-ab", [0]),
        ("GPU-c1,1", [2, 1]),
        ("0,9,1", [0]),  # what stands behind an entry that names none does not count
        ("0,-1,1", [0]),
        ("0,0,1", [0]),
        ("GPU-a", []),  # two begin like that
        ("", []),
        ("-1", []),
        ("3", []),
        ("NoDevFiles", []),
        ("²", []),
        ("MIG-5c0ffee", [0, 1, 2]),
    ],
)
def test_cards_are_hidden_as_cuda_hides_them(said: str | None, seen: list[int]):
    assert gpu.visible(["GPU-ab12", "GPU-a999", "GPU-c123"], said) == seen


def test_hidden_cards_do_not_count(monkeypatch: pytest.MonkeyPatch):
    nvml = FakeNvml(cards=2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpu.total_mib_by_card(nvml) == {"GPU-fake-1": 6144}
    one = Vram(gpu.open_cards(nvml))
    assert (one.place, one.cards, one.free_mib(), nvml.open) == ("GPU-fake-1", 1, 2048, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu.total_mib_by_card(nvml) == {}
    (none,) = gpu.open_cards(nvml)
    assert (Vram([none]).total_mib(), nvml.open) == (None, 1)
    assert "hides every card" in none.memory_readings([])[0].why
