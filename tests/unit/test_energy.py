"""What a call used of a card's energy: measured for one caller at a time, and unknown is never zero."""

import pytest

from governor.energy import card_energy
from governor.policy.facts import ModelSpec
from governor.sensors.gpu import Card
from tests.fakes.nvml import NOT_SUPPORTED, FakeNvml

COUNTER = "nvmlDeviceGetTotalEnergyConsumption"
ON_THE_CARD = ModelSpec(
    engine="ollama",
    model="qwen2.5:7b",
    source="qwen2.5:7b",
    line="gpu",
    context_tokens=4096,
    gpu_layers=-1,
    parameters_billion=7.6,
    expected_mib=5300,
)
ON_THE_CPU = ON_THE_CARD.model_copy(update={"gpu_layers": 0, "line": "cpu"})


def used(nvml: FakeNvml, after_mj: int, spec: ModelSpec = ON_THE_CARD, seats: int = 1) -> float | None:
    with card_energy(spec, seats=seats, card=Card(nvml=nvml)) as spent:
        assert spent.joules is None, "not known before the end"
        nvml.answers[COUNTER] = after_mj
    return spent.joules


@pytest.mark.parametrize(
    ("after_mj", "joules"),
    [
        (1_234_000 + 86_500, 86.5),
        (1_234_000, None),  # over before the counter moved
        (12_000, None),  # the driver was loaded anew
    ],
)
def test_a_call_used_what_the_counter_says_between_its_beginning_and_its_end(after_mj: int, joules: float | None):
    assert used(FakeNvml(), after_mj) == joules


@pytest.mark.parametrize(
    "nvml", [FakeNvml(COUNTER), FakeNvml(absent=(COUNTER,)), FakeNvml("nvmlInit"), FakeNvml(cards=0)]
)
def test_a_card_that_does_not_say_is_unknown_and_not_zero(nvml: FakeNvml):
    assert used(nvml, 2_000_000) is None


def test_a_counter_that_is_hidden_in_the_middle_of_a_call_is_unknown():
    nvml = FakeNvml()
    with card_energy(ON_THE_CARD, seats=1, card=Card(nvml=nvml)) as spent:
        nvml.broken = {COUNTER: NOT_SUPPORTED}
    assert spent.joules is None


@pytest.mark.parametrize(("spec", "seats"), [(ON_THE_CPU, 1), (ON_THE_CARD, 2)], ids=["on the CPU", "not alone"])
def test_what_cannot_be_told_from_the_rest_is_not_measured(spec: ModelSpec, seats: int):
    assert used(FakeNvml(), 2_000_000, spec, seats) is None


def test_a_call_that_fails_used_energy_too():
    nvml = FakeNvml()
    with pytest.raises(TimeoutError), card_energy(ON_THE_CARD, card=Card(nvml=nvml)) as spent:
        nvml.answers[COUNTER] += 5_000
        raise TimeoutError
    assert spent.joules == 5.0


def test_a_machine_without_a_card_measures_nothing_and_fails_nowhere():
    with card_energy(ON_THE_CPU) as spent:
        pass
    assert spent.joules is None
