"""`hotdesk new-agent`: what it writes reads back, runs and passes its own test; what it refuses leaves every byte."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from typer.testing import CliRunner

import flows
from deployments import uses
from deployments.agents import agents_of
from deployments.cadence import numbers
from deployments.cli import app
from deployments.first_round import mark_done
from deployments.fleet import Entry, Schedule, checkout, read_fleet
from deployments.fleet_text import free_time, inserted, scalar
from deployments.flow_parameters import load_flow
from deployments.new_agent import Draft, run_new_agent
from governor.errors import BadInput, NotReady
from governor.settings import Home, prepare_home
from governor.state.sessions import remember

CHECKOUT = checkout()
SHADOWS = ("page", "request", "flow", "agent", "cell", "as-data", "faithful", "byline", "zip")


@pytest.fixture
def root(tmp_path: Path, hotdesk_home: Home) -> Path:
    """A checkout of its own: `prefect.yaml` and the flows."""
    root = tmp_path / "checkout"
    (root / "tests" / "unit").mkdir(parents=True)
    (root / "flows").mkdir()
    shutil.copy(CHECKOUT / "prefect.yaml", root)
    for path in (CHECKOUT / "flows").glob("*.py"):
        shutil.copy(path, root / "flows")
    return root


def bytes_of(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.suffix in (".py", ".yaml")
    }


def made(root: Path, draft: Draft) -> Entry:
    assert list(run_new_agent(draft, root=root, cwd=root))
    [entry] = [entry for entry in read_fleet(root) if entry.name == draft.name]
    return entry


def test_a_prompt_is_one_entry_before_the_house_and_nothing_else_changes(root: Path):
    before = (root / "prefect.yaml").read_text()
    entry = made(root, Draft("press-review"))
    after = (root / "prefect.yaml").read_text()
    start = next(at for at, (old, new) in enumerate(zip(before, after, strict=False)) if old != new)
    added = len(after) - len(before)
    assert any(
        after[at : at + added] + before[at:] == after[at:] for at in range(start + 1) if before[:at] == after[:at]
    )
    names = [entry.name for entry in read_fleet(root)]
    assert names.index("press-review") == names.index("govern") - 1
    assert entry.tags == ("agent", "sample", "prompt-agent")
    assert "due" not in entry.parameters["parameters"]
    assert "CANCEL_NEW" in str(entry.concurrency_limit)


def test_line_ends_of_windows_stay(root: Path):
    path = root / "prefect.yaml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    made(root, Draft("press-review"))
    assert path.read_bytes().count(b"\n") == path.read_bytes().count(b"\r\n")


def test_a_link_stays_one_and_who_may_read_the_file_stays_so(root: Path, tmp_path: Path):
    kept = (root / "prefect.yaml").rename(tmp_path / "kept.yaml")
    kept.chmod(0o640)
    (root / "prefect.yaml").symlink_to(kept)
    made(root, Draft("press-review"))
    assert (root / "prefect.yaml").is_symlink()
    assert kept.stat().st_mode & 0o777 == 0o640


def test_it_waits_for_its_turn(root: Path, hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uses, "TURN_SECONDS", 0.05)
    with uses.Uses(hotdesk_home).turn(), pytest.raises(NotReady, match="has been deploying"):
        made(root, Draft("press-review"))


@pytest.mark.usefixtures("hotdesk_home")
def test_its_time_is_said_in_the_fleets_zone_and_that_it_is_paused_where_it_is(root: Path):
    said = "\n".join(run_new_agent(Draft("one"), root=root, cwd=root))
    assert " UTC every day" in said
    assert "paused" not in said  # the first round is to come
    remember(uses.ZONE_KEY, "Europe/Berlin")
    mark_done(datetime.now(UTC))
    said = "\n".join(run_new_agent(Draft("two"), root=root, cwd=root))
    assert " Europe/Berlin every day" in said
    assert "until then it is paused" in said


def test_a_flow_that_something_else_hides_is_said(root: Path):
    (root / "flows" / "hidden.py").write_text("from prefect import flow\n\n@flow\ndef hidden(): ...\n\nhidden = 1\n")
    with pytest.raises(BadInput, match="that is no flow"):
        load_flow("flows/hidden.py:hidden", root)


def test_a_source_of_ones_own_is_no_sample_and_labels_and_fields_make_its_kind(root: Path, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("x")
    ask = "Is it urgent? $text"
    entry = made(root, Draft("urgent", source="../mine.txt", question=ask, answers=("now=needs me today", "later")))
    assert entry.tags == ("agent", "prompt-agent")
    form = entry.parameters["parameters"]
    assert (form["source"], form["kind"]) == (str(tmp_path / "mine.txt"), "classify")
    assert form["answers"] == {"now": "needs me today", "later": "later"}
    form = made(root, Draft("totals", question="Take them: $text", fields=("total=the sum",))).parameters["parameters"]
    assert (form["kind"], form["fields"]) == ("extract", {"total": "the sum"})


def test_a_source_in_the_checkout_is_named_from_its_top(root: Path):
    (root / "notes.txt").write_text("x")
    assert made(root, Draft("notes-line", source="notes.txt")).parameters["parameters"]["source"] == "notes.txt"


@pytest.fixture
def generated(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The test that comes with a new flow, beside that flow."""
    made(root, Draft("morning-lines", kind="steps"))
    for name, path in (
        ("flows.morning_lines", root / "flows" / "morning_lines.py"),
        ("generated", root / "tests" / "unit" / "test_flows_morning_lines.py"),
    ):
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        if name != "generated":
            monkeypatch.setattr(flows, "morning_lines", module, raising=False)
    yield sys.modules["generated"]


def test_steps_are_a_flow_and_a_test_that_passes_as_it_is(
    generated: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tests = [name for name in vars(generated) if name.startswith("test_")]
    assert len(tests) == 3
    for name in tests:
        monkeypatch.setenv("HOTDESK_HOME", str(tmp_path / name))  # what the fixture does
        prepare_home()
        (tmp_path / f"texts-{name}").mkdir()
        vars(generated)[name](tmp_path / f"texts-{name}")


def test_what_is_generated_is_in_the_style_of_the_house_whatever_its_name(root: Path):
    for name in ("x", "a-rather-long-name-for-one-small-agent-1"):
        made(root, Draft(name, kind="steps"))
    files = sorted([*(root / "flows").glob("[xa]*.py"), *(root / "tests" / "unit").glob("*.py")])
    assert len(files) == 4
    shutil.copy(CHECKOUT / "pyproject.toml", root)
    for package in ("blocks", "governor"):  # so that ruff sees them as ours
        (root / package).symlink_to(CHECKOUT / package)
    (root / "tests" / "unit" / "fleet_stage.py").touch()
    ruff = Path(sys.executable).with_name("ruff")
    for check in (["check", "-q"], ["format", "-q", "--check"]):
        done = subprocess.run([ruff, *check, *files], capture_output=True, text=True, timeout=60, cwd=root)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("draft", "says"),
    [
        (Draft("Bad_Name"), "no good name"),
        (Draft("-x"), "no good name"),
        (Draft("a/b"), "no good name"),
        (Draft("../x", kind="steps"), "no good name"),
        (Draft("n" * 41), "no good name"),
        (Draft("inbox"), "There is an agent"),
        (Draft("x", kind="magic"), "Kinds are: prompt, steps"),
        (Draft("statistics", kind="steps"), "name of a module"),
        (Draft("httpx", kind="steps"), "name of a module"),
        (Draft("governor", kind="steps"), "name of a module"),
        (Draft("class", kind="steps"), "name of a module"),
        (Draft("digest", kind="steps"), "There is a file flows/digest.py."),
        (Draft("left-over", kind="steps"), "flows/left_over.py, and no entry of prefect.yaml uses it"),
        *((Draft(name, kind="steps"), "that the flow itself needs") for name in SHADOWS),
        (Draft("prompts", kind="steps"), "folder of flows/"),
        (Draft("x", about="m\udce4il"), "no UTF-8"),
        (Draft("x", kind="steps", question="what is this?"), "asks what its file says"),
        (Draft("x", source="nowhere"), "No such file"),
        (Draft("x", answers=("a", "b")), "There is no question"),
        (Draft("x", question="what is this?", answers=("a", "b"), fields=("c",)), "Both --answer and --field"),
        (Draft("x", question="what is this?", answers=("a",)), "two labels or more"),
        (Draft("x", question="short"), "at least 8 characters"),
        (Draft("x", question="a {{ template }} of prefect"), "holds a template"),
    ],
)
def test_what_is_refused_leaves_every_byte(root: Path, draft: Draft, says: str):
    (root / "flows" / "left_over.py").touch()
    (root / "flows" / "prompts").mkdir()
    before = bytes_of(root)
    with pytest.raises(BadInput) as caught:
        list(run_new_agent(draft, root=root, cwd=root))
    assert says in str(caught.value)
    assert "Nothing was changed." in caught.value.means
    assert bytes_of(root) == before


def test_a_disk_that_is_full_leaves_every_byte(root: Path, monkeypatch: pytest.MonkeyPatch):
    before, real = bytes_of(root), Path.replace

    def full(path: Path, target: Path) -> Path:
        if target.name == "prefect.yaml" and target.read_bytes() == before["prefect.yaml"]:
            raise OSError(28, "No space left on device")
        return real(path, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(NotReady, match="No space left"):
        list(run_new_agent(Draft("x", kind="steps"), root=root, cwd=root))
    monkeypatch.undo()
    assert bytes_of(root) == before


@pytest.mark.parametrize(
    "about",
    ["plain", "a: b # c", "'quoted' \"twice\"", "- x", "{a: b}", "*agents", "ünïcode …", "yes", "07:00", "two\nlines"],
)
def test_any_words_stay_words(root: Path, about: str):
    entry = made(root, Draft("words", about=about, question=f"{about}\n\nWhat is said? $text"))
    assert entry.description == about
    assert entry.parameters["parameters"]["question"] == f"{about}\n\nWhat is said? $text"


def test_a_scalar_stays_on_its_line():
    assert all("\n" not in scalar(text) for text in ("x " * 500, "a\nb", "", "- a"))
    assert yaml.safe_load(scalar("a\n\nb")) == "a\n\nb"


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n# the end\n"])
def test_without_a_house_it_goes_to_the_end(end: str):
    text = "name: x\ndeployments:\n- name: a\n  entrypoint: e" + end
    assert [one["name"] for one in yaml.safe_load(inserted(text, "- name: b\n"))["deployments"]] == ["a", "b"]


def entry(*crons: str) -> Entry:
    [some] = [entry for entry in read_fleet() if entry.name == "inbox"]
    return some.model_copy(update={"schedules": tuple(Schedule(cron=cron) for cron in crons)})


@pytest.mark.parametrize(
    ("crons", "time"),
    [
        (("0 0 * * *",), (11, 59)),  # :00 is busy
        (("0 12 * * *",), (0, 1)),
        (("15 * * * *",), (0, 45)),
        (("10 0-11 * * *", "40 12-23 * * *"), (0, 11)),
    ],
)
def test_the_time_is_the_farthest_from_all_others(crons: tuple[str, ...], time: tuple[int, int]):
    hour, minute = free_time([entry(*crons)])
    taken = [h * 60 + m for c in crons for h in numbers(c.split()[1], 24) for m in numbers(c.split()[0], 60)]
    nearest = min(min(abs(hour * 60 + minute - one), 1440 - abs(hour * 60 + minute - one)) for one in taken)
    others = [
        min(min(abs(at - one), 1440 - abs(at - one)) for one in taken) for at in range(1440) if at % 60 not in (0, 30)
    ]
    assert nearest == max(others)
    if len(crons) == 1:
        assert (hour, minute) == time


def test_the_committed_fleet_leaves_time_for_more(root: Path):
    times = {str(made(root, Draft(f"more-{n}")).schedules[0].cron) for n in range(3)}
    assert len(times) == 3
    assert set(agents_of(read_fleet(root), root)) >= {f"prompt-agent/more-{n}" for n in range(3)}


def test_the_command_line_passes_it_on_and_says_what_is_wrong(hotdesk_home: Home):
    done = CliRunner().invoke(app, ["new-agent", "inbox", "--kind", "steps"])
    assert done.exit_code == 1
    assert "There is an agent 'inbox'" in done.stderr
