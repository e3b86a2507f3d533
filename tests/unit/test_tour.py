"""The tour's own parts that need no server: every act ends, and everything is put back."""

import io
import os
from collections.abc import Callable

import psutil
import pytest
from rich.console import Console

from deployments import tour
from deployments.screen import Screen
from deployments.tour import Act, act_rung, play, restore_budget, wait_in_line
from deployments.tour_hold import holding
from governor.errors import NotReady
from governor.policy.facts import ModelSpec, Rung
from governor.policy.ladder import Standing
from governor.standing import RUNG_KEY, current_rung, keep, standing
from governor.state.sessions import recall, remember, transaction
from governor.tick import SEEN_KEY

SPEC = ModelSpec(
    engine="embedded",
    model="m",
    source="none.gguf",
    line="gpu",
    context_tokens=512,
    parameters_billion=0.1,
    expected_mib=9,
)


def plain_screen() -> Screen:
    return Screen(Console(file=io.StringIO(), width=100))


class BrokenOff(Screen):
    """FAKE of a screen whose audience presses Ctrl-C when it reads a word."""

    def __init__(self, word: str, then: Callable[[], None] = lambda: None) -> None:
        super().__init__(Console(file=io.StringIO(), width=100))
        self._word, self._then = word, then

    def say(self, text: str) -> None:
        if self._word in text:
            self._then()
            raise KeyboardInterrupt


def stand_on(rung: Rung) -> None:
    with transaction() as session:
        keep(session, Standing(rung=rung))


def said(screen: Screen) -> str:
    return screen.console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO


@pytest.mark.usefixtures("hotdesk_home")
@pytest.mark.parametrize("before", ["", "900.0"])
def test_budget_is_put_back_after_a_tour_that_was_killed(before: str) -> None:
    remember(tour.SAVED_KEY, before or "none")
    remember(tour.BUDGET_KEY, "396.0")
    restore_budget()
    restore_budget()
    assert recall(tour.BUDGET_KEY) == before


@pytest.mark.usefixtures("hotdesk_home")
def test_budget_that_no_tour_changed_is_left_alone() -> None:
    remember(tour.BUDGET_KEY, "900.0")
    restore_budget()
    assert recall(tour.BUDGET_KEY) == "900.0"


@pytest.mark.usefixtures("hotdesk_home")
def test_act_that_cannot_be_shown_says_why_and_ends() -> None:
    def fails(_screen: Screen) -> str:
        raise NotReady("The limit is missing.", remedy="Run `hotdesk bootstrap`.")

    screen = plain_screen()
    act = play("an act", fails, screen, "1/4")
    assert act == Act("an act", act.seconds, False, "The limit is missing.")
    assert "could not be shown: The limit is missing." in said(screen)


@pytest.mark.usefixtures("hotdesk_home")
def test_governor_climbs_one_rung_on_real_readings_and_comes_back() -> None:
    screen = plain_screen()
    assert "normal -> trim -> normal" in act_rung(screen)
    assert standing() == Standing()
    assert "pressure on host_available_percent" in said(screen)


@pytest.mark.usefixtures("hotdesk_home")
def test_rung_that_real_pressure_chose_is_not_touched() -> None:
    stand_on(Rung.TRIM)
    with pytest.raises(NotReady):
        act_rung(plain_screen())
    assert current_rung() is Rung.TRIM


@pytest.mark.usefixtures("hotdesk_home")
def test_ladder_is_put_back_when_the_act_breaks_off() -> None:
    remember(SEEN_KEY, '{"at_s": 5.0}')
    with pytest.raises(KeyboardInterrupt):
        act_rung(BrokenOff("rung trim"))
    assert (standing(), recall(RUNG_KEY), recall(SEEN_KEY)) == (Standing(), "", '{"at_s": 5.0}')


@pytest.mark.usefixtures("hotdesk_home")
def test_rung_that_the_real_governor_chose_during_the_act_stays() -> None:
    with pytest.raises(KeyboardInterrupt):
        act_rung(BrokenOff("rung trim", then=lambda: stand_on(Rung.EVICT_IDLE)))
    assert current_rung() is Rung.EVICT_IDLE


@pytest.mark.usefixtures("hotdesk_home")
def test_waiting_for_a_ticket_is_bounded() -> None:
    with pytest.raises(NotReady):
        wait_in_line(os.getpid(), seconds=0.1)


@pytest.mark.usefixtures("hotdesk_home")
def test_child_that_cannot_sit_down_says_so_and_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # port 9, discard: nobody answers there
    with holding(SPEC, "tour/test", 1.0) as child, pytest.raises(NotReady, match="could not sit down"):
        child.wait_seated(60.0)
    assert not psutil.pid_exists(child.pid)
