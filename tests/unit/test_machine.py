"""What is found on a machine: its power, its files, and what Ollama has."""

import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from governor.errors import BadInput
from governor.machine import look_around
from governor.sensors import host
from governor.settings import Home
from tests.fakes.ollama_server import FakeOllama


@pytest.fixture(autouse=True)
def nobody(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("HOTDESK_POWER", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{taken.getsockname()[1]}")
    yield


@pytest.mark.parametrize(
    ("plugged", "mains"), [(True, True), (False, False), (None, None)], ids=["plugged in", "on battery", "does not say"]
)
def test_a_battery_says_whether_the_machine_is_on_mains(plugged: bool | None, mains: bool | None):
    battery = SimpleNamespace(percent=50, power_plugged=plugged)
    assert host.on_mains(battery=lambda: battery) is mains


def test_without_a_battery_and_with_one_that_cannot_be_read_nobody_says():
    def unreadable() -> None:
        raise OSError("no such device")

    assert (host.on_mains(battery=lambda: None), host.on_mains(battery=unreadable)) == (None, None)


@pytest.mark.parametrize(("named", "mains"), [("battery", False), (" Mains ", True)])
def test_the_power_can_be_named(named: str, mains: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOTDESK_POWER", named)
    assert look_around().on_mains is mains


def test_another_power_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOTDESK_POWER", "solar")
    with pytest.raises(BadInput, match="HOTDESK_POWER is 'solar'"):
        look_around()


def test_weights_that_lie_in_the_state_folder_are_seen(hotdesk_home: Home):
    for name in ("b.gguf", "A.GGUF", "half.gguf.part", "fetch.lock"):
        (hotdesk_home.weights / name).touch()
    assert look_around().files == ("A.GGUF", "b.gguf")


def test_a_state_folder_that_is_not_made_yet_has_no_files(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOTDESK_HOME", str(tmp_path / "none"))
    assert look_around().files == ()


def test_without_ollama_nobody_knows_its_models_which_is_not_the_same_as_none(monkeypatch: pytest.MonkeyPatch):
    assert look_around().tags is None
    with FakeOllama() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        assert look_around().tags == ()
        server.tags = ["a:1b"]
        assert look_around().tags == ("a:1b",)
