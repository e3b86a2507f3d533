"""`hotdesk use`: checked before anything is kept, kept before anything is sent, and the same wherever one stands."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.agents import agents_of, find_agent, name_of
from deployments.cli import app
from deployments.deploying import deploy
from deployments.fleet import Entry, read_fleet
from deployments.use import Wishes, run_use
from deployments.use_list import run_list
from deployments.uses import Uses, all_uses, keep
from governor.errors import BadInput
from governor.settings import Home
from tests.unit.deploy_stage import NAME, FakeServer, Use, command, own

FLEET = agents_of(read_fleet())
SAMPLES = FLEET[NAME].parameters["parameters"]["source"]


@pytest.fixture
def server(hotdesk_home: Home) -> FakeServer:
    """One that was set up, after the first round."""
    server = FakeServer(hotdesk_home)
    deploy(server.fake.as_client, [FLEET[NAME]], uses=Uses(hotdesk_home))
    server.fake.kept[NAME].paused = True
    return server


@pytest.fixture
def use(server: FakeServer, tmp_path: Path) -> Use:
    return command(server, tmp_path)


def test_a_relative_source_is_one_of_the_operators_folder_and_the_agent_runs(
    use: Use, server: FakeServer, tmp_path: Path
):
    said = use("support", source="mails", values=("max_items=5",), due="07:00", privacy="no-training")
    mine = str(tmp_path / "mails")
    assert own() == {"source": mine, "max_items": 5, "due": "07:00", "privacy": "no_training"}
    found = server.fake.kept[NAME]
    assert server.fake.form(NAME)["source"] == mine
    assert (found.paused, "sample" in found.tags) == (False, False)
    assert f"{NAME} works on {mine} (your own data)" in said
    assert "It runs at its times" in said
    assert "may leave this machine (privacy no_training)" in said
    assert "may leave this machine" not in use("support", privacy="local-only")


def test_twice_is_once(use: Use, server: FakeServer):
    assert use(source="mails") == use(source="mails")
    assert len(server.fake.kept) == 1


def test_without_a_server_it_is_kept_and_sent_with_the_next_deploy(use: Use, server: FakeServer, tmp_path: Path):
    server.is_up = False
    assert "next `hotdesk up`" in use(source="mails")
    assert server.fake.kept[NAME].paused
    deploy(server.fake.as_client, [FLEET[NAME]], uses=Uses(server.where))
    assert server.fake.form(NAME)["source"] == str(tmp_path / "mails")
    assert not server.fake.kept[NAME].paused


def test_a_wish_is_newer_than_what_was_edited_before_and_leaves_other_edits(use: Use, server: FakeServer):
    use(source="mails")
    server.fake.form(NAME).update(source="/elsewhere", max_items=3)
    said = use(source="mails")
    assert own()["source"].endswith("/mails")
    assert own()["max_items"] == 3
    assert "keeps max_items = 3" in said


def test_back_to_the_samples_and_paused(use: Use, server: FakeServer):
    use(source="mails", values=("max_items=5",))
    assert "It is paused" in use(reset=True)
    assert server.fake.form(NAME) == FLEET[NAME].parameters["parameters"]
    assert server.fake.kept[NAME].paused
    assert own() == {}


def test_a_setting_alone_leaves_it_on_its_samples_and_paused(use: Use, server: FakeServer):
    assert "still on samples" in use(values=("max_items=5",))
    assert server.fake.kept[NAME].paused
    assert server.fake.form(NAME)["max_items"] == 5


# They read what the fleet wrote, from the first day on.
NO_SAMPLES = [name for name, entry in FLEET.items() if "sample" not in entry.tags]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("due=07:30", {"due": "07:30"}),  # a number in YAML
        ("due=none", {"due": None}),
        ("max_items=5", {"max_items": 5}),
        ("quality=good", {"quality": "good"}),
        ("quality=", {"quality": None}),
        ("own=[a@b.example, c@d.example]", {"own": ["a@b.example", "c@d.example"]}),
    ],
)
def test_a_value_is_read_as_its_flow_takes_it(use: Use, text: str, value: dict[str, Any]):
    use(source="mails", values=(text,))
    [key] = value
    written = FLEET[NAME].parameters["parameters"].get(key)
    assert own().get(key, written) == value[key]


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"source": "nowhere"}, "No such file"),
        ({"source": "state:nowhere"}, "No such file"),
        ({"source": "mails", "values": ("max_item=5",)}, "Did you mean `max_items`?"),
        ({"source": "mails", "values": ("max_items=many",)}, "Newest items to work on"),
        ({"source": "mails", "values": ("max_items=900",)}, "less than or equal to 200"),
        ({"source": "mails", "values": ("max_items",)}, "has no key"),
        ({"source": "mails", "values": ("labels=bug",)}, "labels"),
        ({"source": "mails", "values": ("labels={a: [",)}, "labels"),
        ({"source": "mails", "due": "noon"}, "such as 07:00"),
        ({"source": "mails", "timezone": "Mars"}, "Europe/Berlin"),
        ({"source": "mails", "privacy": "secret"}, "'local_only', 'no_training' or 'public'"),
        ({"source": "mails", "values": ("max_items=2026-99-99",)}, "max_items"),
        ({"source": "mails", "values": ("max_items=" + "[" * 3000,)}, "max_items"),
        ({"source": "mails", "values": ("max_items=" + "9" * 20_000,)}, "At most 20000"),
        ({"source": "mails", "values": ("max_items=3", "max_items=4")}, "`max_items` was given twice"),
        ({"source": "mails", "values": ("source=other",)}, "`source` was given twice"),
        ({"source": "mails", "values": ("own=m\udce4il",)}, "no UTF-8"),
        ({"source": "m\udce4il"}, "no UTF-8"),
        ({"source": "https://me:secret@host.example/feed"}, "name or password"),
        ({"source": "http://"}, "only http and https addresses"),
        ({"source": "http://host.example:22/"}, "port 22"),
        ({"reset": True, "source": "mails"}, "takes no other wish"),
        ({"ask_again": True, "source": "mails"}, "takes no other wish"),
        ({"ask_again": True, "reset": True}, "takes no other wish"),
        ({}, "wants to know what to change"),
    ],
)
def test_what_does_not_fit_says_what_does_and_changes_nothing(
    use: Use, server: FakeServer, wishes: dict[str, Any], says: str
):
    before = {name: row.parameters for name, row in all_uses().items()}
    with pytest.raises(BadInput) as caught:
        use(**wishes)
    assert says in str(caught.value)
    assert caught.value.means == "Nothing was changed."
    assert "secret@" not in str(caught.value) and str(caught.value).encode()
    assert len(str(caught.value)) < 1500
    assert {name: row.parameters for name, row in all_uses().items()} == before
    assert server.fake.form(NAME)["source"] == SAMPLES


def test_a_name_that_is_no_utf_8_is_refused_though_it_is_there(use: Use, tmp_path: Path):
    (tmp_path / "folder\udce4").mkdir()
    with pytest.raises(BadInput, match="no UTF-8"):
        use(source="folder\udce4")
    with pytest.raises(BadInput, match="no UTF-8"):
        list(run_use(NAME, Wishes(source="../mails"), cwd=tmp_path / "folder\udce4" / "x"))


def test_a_key_that_the_flow_lost_does_not_stop_a_wish(use: Use):
    keep(NAME, own={"gone": 1}, told={}, now=datetime.now(UTC))
    assert f"{NAME} drops gone = 1" in use(source="mails")
    assert "gone" not in own()


def test_a_folder_that_may_not_be_read_is_refused(use: Use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read anything
    with pytest.raises(BadInput, match="may not read it"):
        use(source="mails")


@pytest.mark.parametrize(
    ("named", "says"),
    [("suport", "Did you mean `support`?"), ("triage/suport", "Did you mean `triage/support`?"), ("zzz", "use --list")],
)
def test_an_unknown_agent_is_guessed(use: Use, named: str, says: str):
    with pytest.raises(BadInput) as caught:
        use(named, source="mails")
    assert says in str(caught.value)


def test_a_name_of_two_agents_wants_the_flow_too():
    other = FLEET["digest/news"].model_copy(update={"name": "support"})
    agents: dict[str, Entry] = {NAME: FLEET[NAME], name_of(other): other}
    with pytest.raises(BadInput, match="triage/support or digest/support"):
        find_agent("support", agents)
    assert find_agent(NAME, agents) == NAME


def test_the_zone_of_the_whole_fleet(use: Use, server: FakeServer):
    assert "times of Europe/Berlin" in use(None, timezone="Europe/Berlin")
    assert server.fake.kept[NAME].schedules[0].schedule.timezone == "Europe/Berlin"
    for wishes in ({}, {"timezone": "Europe/Berlin", "source": "mails"}, {"timezone": "Mars"}, {"timezone": "/etc"}):
        with pytest.raises(BadInput):
            use(None, **wishes)


def test_the_list_shows_every_agent_what_it_works_on_and_whether_it_runs(use: Use, server: FakeServer, tmp_path: Path):
    use(source="mails", due="07:00", timezone="Europe/Berlin")
    rows = {row["agent"]: row for row in json.loads(run_list(as_json=True, server=server))}
    assert set(rows) == set(FLEET)
    mine, other = rows[NAME], rows["digest/news"]
    assert (mine["samples"], mine["paused"], mine["due"], mine["timezone"]) == (False, False, "07:00", "Europe/Berlin")
    assert (other["samples"], other["paused"]) == (True, None)  # this server does not know it
    server.is_up = False
    use(source=str(tmp_path), values=("max_items=7",))
    server.is_up = True  # it answers again, and was not told yet
    rows = {row["agent"]: row for row in json.loads(run_list(as_json=True, server=server))}
    assert (rows[NAME]["source"], rows[NAME]["samples"]) == (str(tmp_path), False)
    server.is_up = False
    table = run_list(as_json=False, server=server).splitlines()
    [line] = [line for line in table if line.startswith(NAME)]
    assert line.split()[1:5] == ["own", "?", "07:00", "Europe/Berlin"]
    assert table[-2].startswith(f"{1 + len(NO_SAMPLES)} of {len(FLEET)} agents")


def test_the_command_line_passes_it_on(hotdesk_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # nobody answers there
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mails").write_text("From x\n")
    done = CliRunner().invoke(app, ["use", "support", "--source", "mails", "--set", "max_items=5"])
    assert (done.exit_code, "your own data" in done.output) == (0, True)
    assert own() == {"source": str(tmp_path / "mails"), "max_items": 5}
    listed = CliRunner().invoke(app, ["use", "--list", "--json"])
    assert [row["agent"] for row in json.loads(listed.output) if not row["samples"]] == sorted([*NO_SAMPLES, NAME])
    assert CliRunner().invoke(app, ["use", "suport", "--reset"]).exit_code == 1
    before = own()
    for ignored in (["--source", "mails", "--list"], ["support", "--list"], ["support", "--due", "07:00", "--json"]):
        done = CliRunner().invoke(app, ["use", *ignored])
        assert (done.exit_code, "Nothing was changed." in done.stderr) == (1, True)
    assert own() == before
    assert CliRunner().invoke(app, ["use", "support", "--ask-again"]).output.startswith("0 answers")
