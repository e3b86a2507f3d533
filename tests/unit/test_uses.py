"""What an operator told an agent survives every deploy, whoever deploys and whatever was edited in between."""

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from prefect.exceptions import PrefectHTTPStatusError

from deployments import uses as module
from deployments.agents import agents_of, name_of
from deployments.deploying import Deployed, deploy
from deployments.first_round import mark_done
from deployments.fleet import Entry, read_fleet
from deployments.merging import DEFAULTS
from deployments.uses import ZONE_KEY, Uses, all_uses, keep, use_of
from governor.errors import BadInput, NotReady
from governor.settings import Home
from governor.state.sessions import remember
from tests.unit.deploy_stage import FakeClient, answer_of
from tests.unit.test_upgrades import FIXTURES, NOW

FLEET = agents_of(read_fleet())
NAME = "triage/support"
ENTRY = FLEET[NAME]
SOURCE = ENTRY.parameters["parameters"]["source"]


class Stage:
    """A state folder, a FAKE client, and one agent of the fleet."""

    def __init__(self, where: Home) -> None:
        self.uses, self.client = Uses(where), FakeClient()

    def deploys(self, entry: Entry = ENTRY) -> Deployed:
        [done] = deploy(self.client.as_client, [entry], uses=self.uses)
        return done

    @property
    def there(self) -> tuple[str, bool, bool]:
        """Its source, whether it is tagged as a sample, and whether it is paused."""
        found = self.client.kept[NAME]
        return found.parameters["parameters"]["source"], "sample" in found.tags, bool(found.paused)

    def after_the_first_round(self) -> None:
        self.deploys()
        self.client.kept[NAME].paused = True


@pytest.fixture
def stage(hotdesk_home: Home) -> Stage:
    return Stage(hotdesk_home)


def own(**values: object) -> None:
    keep(NAME, own=values, told={}, now=NOW)


def test_without_a_word_of_the_operator_what_is_written_is_deployed(stage: Stage):
    stage.after_the_first_round()
    stage.deploys()
    assert stage.there == (SOURCE, True, True)
    assert use_of(NAME) is not None and use_of(NAME).parameters == {}  # type: ignore[union-attr]  # it is there


def test_an_agent_on_own_data_is_no_sample_and_runs_and_stays_so_through_upgrades(stage: Stage):
    stage.after_the_first_round()
    own(source="/mine")
    stage.deploys()
    assert stage.there == ("/mine", False, False)
    upgraded = ENTRY.model_copy(
        update={"parameters": {"parameters": {**ENTRY.parameters["parameters"], "max_items": 33, "source": "new"}}}
    )
    stage.deploys(upgraded)
    assert stage.there == ("/mine", False, False)
    assert stage.client.form(NAME)["max_items"] == 33


def test_who_is_paused_on_own_data_by_hand_stays_paused(stage: Stage):
    own(source="/mine")
    stage.deploys()
    stage.client.kept[NAME].paused = True
    stage.deploys()
    assert stage.there == ("/mine", False, True)


def test_a_source_edited_in_the_form_moves_the_agent_and_is_said(stage: Stage):
    stage.after_the_first_round()
    stage.client.form(NAME)["source"] = "/mine"
    assert stage.deploys().said == ("keeps source = /mine, as it was edited on the server",)
    assert stage.there == ("/mine", False, False)
    assert stage.deploys().said == ()
    stage.client.form(NAME)["source"] = SOURCE
    stage.deploys()
    assert stage.there == (SOURCE, True, True)


def test_prefect_deploy_by_hand_is_no_edit(stage: Stage):
    own(source="/mine", max_items=3)
    stage.deploys()
    by_hand = {"parameters": ENTRY.parameters, "tags": list(ENTRY.tags), "paused": True}
    vars(stage.client.kept[NAME]).update(by_hand)
    stage.deploys()
    assert stage.there == ("/mine", False, True)
    assert stage.client.form(NAME)["max_items"] == 3


BRIEF = FLEET["brief/evening-report"]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (ENTRY, {"max_items": 3}),
        (ENTRY, {"privacy": "local_only"}),
        (BRIEF, {"max_items": 3}),
        (BRIEF, {"source": "/x"}),
    ],
)
def test_prefect_deploy_by_hand_is_no_edit_of_an_agent_without_the_tag(
    stage: Stage, entry: Entry, told: dict[str, object]
):
    name = name_of(entry)
    keep(name, own=told, told={}, now=NOW)
    stage.deploys(entry)
    vars(stage.client.kept[name]).update(parameters=entry.parameters, tags=list(entry.tags))
    [said] = stage.deploys(entry).said
    assert said.startswith(f"has again what it was told ({', '.join(told)})")
    assert use_of(name).parameters == told  # type: ignore[union-attr]  # it is there
    assert told.items() <= stage.client.form(name).items()
    assert stage.deploys(entry).said == ()


def test_a_form_saved_with_the_defaults_of_an_older_flow_is_no_edit(stage: Stage):
    stage.deploys()
    row = use_of(NAME)
    assert row is not None and "max_tokens" not in stage.client.form(NAME)
    keep(NAME, own={}, told={**row.deployed, DEFAULTS: {**row.deployed[DEFAULTS], "max_tokens": 64}}, now=NOW)
    stage.client.form(NAME)["max_tokens"] = 64
    assert stage.deploys().said == ()
    assert "max_tokens" not in stage.client.form(NAME)


def test_prefect_deploy_by_hand_does_not_undo_the_fleets_zone(stage: Stage):
    remember(ZONE_KEY, "Europe/Berlin")
    stage.deploys()
    vars(stage.client.kept[NAME]).update(parameters=ENTRY.parameters)
    assert stage.deploys().said == ()
    assert stage.client.form(NAME)["timezone"] == "Europe/Berlin"


def test_who_is_paused_stays_so_when_its_own_source_is_edited_and_runs_on_a_new_server(stage: Stage):
    own(source="/mine")
    stage.deploys()
    stage.client.kept[NAME].paused = True
    stage.client.form(NAME)["source"] = "/other"
    stage.deploys()
    assert stage.there == ("/other", False, True)
    stage.client.kept.clear()
    stage.deploys(ENTRY.model_copy(update={"paused": True}))
    assert stage.there == ("/other", False, False)


@pytest.mark.parametrize("error", [answer_of(422), ValueError("no date")])
def test_what_the_server_refuses_stops_nobody_else_and_names_who_said_it(stage: Stage, error: Exception):
    own(source="/mine")
    stage.client.errors[NAME] = error
    refused: list[BadInput] = []
    done = deploy(stage.client.as_client, [ENTRY, BRIEF], uses=stage.uses, on_refusal=refused.append)
    assert [one.name for one in done] == [name_of(BRIEF)]
    [one] = refused
    assert f"`hotdesk use {NAME} --reset`" in one.remedy
    own()
    with pytest.raises(BadInput) as caught:
        stage.deploys()
    assert caught.value.remedy.startswith("Correct its values in prefect.yaml")


@pytest.mark.parametrize("status", [401, 429, 503])
def test_a_server_in_trouble_refuses_no_value(stage: Stage, status: int):
    stage.client.errors[NAME] = answer_of(status)
    with pytest.raises(PrefectHTTPStatusError):
        stage.deploys()


def test_a_deploy_waits_for_its_turn(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "TURN_SECONDS", 0.1)
    with stage.uses.turn(), pytest.raises(NotReady, match="has been deploying"):
        stage.deploys()


def test_going_back_to_samples_pauses(stage: Stage):
    own(source="/mine")
    stage.deploys()
    own()
    stage.deploys()
    assert stage.there == (SOURCE, True, True)
    stage.client.kept[NAME].paused = False  # switched on by a person
    stage.deploys()
    assert stage.there == (SOURCE, True, False)


def test_a_key_that_the_flow_lost_is_dropped_with_a_sentence(stage: Stage):
    own(source="/mine", forgotten=1)
    assert stage.deploys().said == ("drops forgotten = 1: unknown key",)
    assert stage.there[0] == "/mine"
    assert stage.deploys().said == ()


def times(found: FakeClient) -> Sequence[tuple[str, str, bool]]:
    return [(one.schedule.cron, one.schedule.timezone, one.active) for one in found.kept[NAME].schedules]


def test_the_fleets_zone_is_that_of_schedules_and_due_times_and_what_is_off_stays_off(stage: Stage):
    stage.deploys()
    assert times(stage.client) == [("19 * * * *", "UTC", True)]
    stage.client.kept[NAME].schedules[0].active = False
    remember(ZONE_KEY, "Europe/Berlin")
    stage.deploys()
    assert times(stage.client) == [("19 * * * *", "Europe/Berlin", False)]
    assert stage.client.form(NAME)["timezone"] == "Europe/Berlin"
    own(timezone="Asia/Tokyo")
    stage.deploys()
    assert times(stage.client) == [("19 * * * *", "Asia/Tokyo", False)]
    own()
    remember(ZONE_KEY, "UTC")
    stage.deploys()
    assert times(stage.client) == [("19 * * * *", "UTC", False)]


def test_the_house_is_deployed_as_written_and_leaves_no_row(stage: Stage):
    remember(ZONE_KEY, "Europe/Berlin")
    [govern] = [entry for entry in read_fleet() if entry.name == "govern"]
    deploy(stage.client.as_client, [govern], uses=stage.uses)
    assert stage.client.kept["govern/govern"].schedules[0].schedule.timezone == "UTC"
    assert all_uses() == {}


def test_a_state_folder_of_0_5_0_changes_nothing(hotdesk_home: Home):
    hotdesk_home.database.unlink()
    with sqlite3.connect(hotdesk_home.database) as old:
        old.executescript((FIXTURES / "state-0.5.0" / "hotdesk.sql").read_text())
    stage = Stage(hotdesk_home)
    deploy(stage.client.as_client, [ENTRY])  # as 0.5.0 did
    stage.client.kept[NAME].paused = True
    assert all_uses() == {}
    assert stage.deploys().said == ()
    assert stage.there == (SOURCE, True, True)


def test_a_sample_that_comes_with_an_upgrade_is_paused_as_the_others_are(stage: Stage):
    stage.deploys()
    assert stage.there == (SOURCE, True, False)  # the first round is to come, and pauses it
    mark_done(NOW)
    stage.client.kept.clear()
    stage.deploys()
    assert stage.there == (SOURCE, True, True)
    stage.client.kept.clear()
    own(source="/mine")
    stage.deploys()
    assert stage.there == ("/mine", False, False)


def test_a_turn_is_waited_for_within_bounds(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "TURN_SECONDS", 0.1)
    uses = Uses(hotdesk_home)
    with uses.turn(), pytest.raises(NotReady, match="has been deploying"), uses.turn():
        pass
    with uses.turn():  # free again
        handle = os.open(Path(hotdesk_home.root) / "deploying.lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
