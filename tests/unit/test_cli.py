"""The command line: what it lists, how it fails, and that asking for help costs nothing."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deployments import report, up
from deployments.ask import explain, request_for, said
from deployments.cli import app
from deployments.up_lock import up_lock
from governor.errors import BadInput
from governor.policy.facts import Kind
from governor.settings import Home

COMMANDS = ("up", "tour", "down", "status", "doctor", "pause", "resume", "env", "ask", "why", "bootstrap")
COMMANDS += ("use", "new-agent")
HEAVY = ("prefect", "litellm", "sqlalchemy", "xllamacpp", "psutil", "rich.live")


def hotdesk(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_help_lists_every_command_and_hides_fetch() -> None:
    said = hotdesk("--help").output
    for command in COMMANDS:
        assert f"  {command} " in said
    assert "  fetch " not in said


@pytest.mark.parametrize("command", [*COMMANDS, "fetch"])
def test_every_command_explains_itself(command: str) -> None:
    assert hotdesk(command, "--help").exit_code == 0


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, deployments.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_error_says_what_happened_what_it_means_and_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOTDESK_HOME", str(tmp_path / "file"))
    done = hotdesk("env")
    assert done.exit_code == 1
    assert done.stdout == ""
    happened, means, remedy = done.stderr.splitlines()
    assert "cannot be used" in happened
    assert means == "| Nothing was lost."
    assert remedy.startswith("| -> ")
    assert "Traceback" not in done.output


def test_a_round_of_some_agents_may_be_asked_for_more_than_once(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[up.Plan] = []

    def run_up(plan: up.Plan) -> int:
        plans.append(plan)
        return 3

    monkeypatch.setattr(up, "run_up", run_up)
    assert hotdesk("up", "--once", "--only", "triage,check", "--only", "digest/news").exit_code == 3
    assert hotdesk("up", "--no-tour", "--port", "4300").exit_code == 3
    assert plans == [up.Plan(once=True, only=("triage,check", "digest/news")), up.Plan(tour=False, port=4300)]


@pytest.mark.usefixtures("hotdesk_home")
def test_unknown_kind_lists_the_kinds() -> None:
    done = hotdesk("ask", "--kind", "sing", "la la")
    assert done.exit_code == 1
    for kind in Kind:
        assert kind.value in done.stderr


@pytest.mark.parametrize(
    ("text", "kind", "labels"),
    [("  ", "write", []), ("x", "write", ["a", "b"]), ("x", "classify", ["a"]), ("x", "classify", ["a", "a"])],
)
def test_request_that_makes_no_sense_is_refused(text: str, kind: str, labels: list[str]) -> None:
    with pytest.raises(BadInput):
        request_for(text, kind=kind, labels=labels)


def test_every_kind_makes_a_request_whose_answer_is_constrained_where_it_can_be() -> None:
    assert request_for("x", kind="classify", labels=[]).choices
    assert request_for("x", kind="classify", labels=["a", "b", "a"]).choices == ("a", "b")
    assert request_for("x", kind="extract", labels=[]).json_schema
    for kind in ("summarise", "write", "translate", "code", "compare"):
        request = request_for("x", kind=kind, labels=[])
        assert request.choices is None
        assert request.json_schema is None


def test_a_text_to_embed_is_the_input_and_not_the_prompt() -> None:
    request = request_for("some text", kind="embed", labels=[])
    assert request.inputs == {"text": "some text"}
    assert "some text" not in request.prompt


@pytest.mark.parametrize(
    ("privacy", "quality", "allowed"),
    [
        (None, None, "local_only"),
        ("local-only", "quick", "local_only"),
        ("no-training", "good", "no_training"),
        ("no_training", None, "no_training"),
        ("public", None, "public"),
    ],
)
def test_where_words_may_go_is_nowhere_unless_it_is_said(
    privacy: str | None, quality: str | None, allowed: str
) -> None:
    request = request_for("x", kind="write", labels=[], privacy=privacy, quality=quality)
    assert (request.allowed, request.quality) == (allowed, quality)


@pytest.mark.parametrize(
    ("wished", "names"),
    [({"privacy": "secret"}, "local-only, no-training, public"), ({"quality": "best"}, "quick, good")],
)
def test_a_wish_that_is_not_known_lists_those_that_are(wished: dict[str, str], names: str) -> None:
    with pytest.raises(BadInput, match=names):
        request_for("x", kind="write", labels=[], **wished)


def test_a_vector_is_said_by_its_length() -> None:
    from governor.answers import Answer

    assert said(Answer("1 vectors", [[0.1] * 384], True, [], "embedder", "m", False, "")) == "a vector of 384 numbers"
    assert said(Answer("a text", "a text", True, [], "heavy", "m", False, "")) == "a text"


def test_an_answer_that_went_up_is_explained_with_every_attempt_and_what_else_there_was() -> None:
    from governor.answers import Answer, Asked
    from governor.decided import Served
    from governor.state.models import Decision

    weighed = [
        {"tier": "tiny", "reason": "small"},
        {"tier": "heavy", "reason": "large"},
        {"tier": "x/y", "reason": "far"},
    ]
    row: dict[str, Any] = {
        "candidates": weighed,
        "tokens_in": 1,
        "tokens_out": 1,
        "line_seconds": 0.0,
        "work_seconds": 1,
    }
    first = Decision(tier="tiny", model="s", verdict="too short", shadow_usd=0.5, **row)
    second = Decision(tier="heavy", model="l", verdict="verified", energy_joules=40.0, shadow_usd=0.5, **row)
    answer = Answer("yes", "yes", True, [], "heavy", "l", False, "large")
    lines = explain(answer, Asked([answer]), [Served((first, second))])
    assert "-- then tiny: too short -> heavy: verified" in lines
    assert "-- else x/y: far" in lines
    assert "-- else heavy: large" not in lines
    assert lines[-1].endswith("40 J, worth $1.00")


def test_answer_is_explained_with_model_reason_and_problems() -> None:
    from governor.answers import Answer, Asked

    answer = Answer("no", None, False, ["too short"], "tiny", "smollm2-135m", True, "the shortest line")
    said = "\n".join(explain(answer, Asked([answer], line_seconds=1.0, desk_seconds=2.0)))
    for part in ("smollm2-135m (demo model, 135M)", "tiny", "the shortest line", "1.0 s in line", "too short"):
        assert part in said


def test_status_without_a_state_folder_works_and_is_valid_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTDESK_HOME", str(tmp_path / "none"))
    assert "hotdesk up" in hotdesk("status").output
    assert json.loads(hotdesk("status", "--json").output)["home"] == str(tmp_path / "none")


def test_down_with_nothing_running_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTDESK_HOME", str(tmp_path / "none"))
    done = hotdesk("down")
    assert done.exit_code == 0
    assert "Nothing runs" in done.output


def test_second_up_is_refused_before_anything_starts(hotdesk_home: Home) -> None:
    with up_lock(hotdesk_home):
        done = hotdesk("up", "--once")
    assert done.exit_code == 1
    assert "already up" in done.stderr
    assert "hotdesk down" in done.stderr
    assert not list(hotdesk_home.logs.iterdir())


def test_env_prints_lines_that_a_shell_can_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    awkward = tmp_path / "it's $HOME here"
    monkeypatch.setenv("HOTDESK_HOME", str(awkward))
    done = hotdesk("env")
    assert done.exit_code == 0
    assert all(line.startswith(("export ", "case ")) for line in done.stdout.splitlines())
    script = done.stdout + 'printf %s "$HOTDESK_HOME"'
    read = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=20, check=True, env={})
    assert read.stdout == str(awkward)


@dataclass(frozen=True)
class FakeCheck:
    """As `deployments.doctor` gives them."""

    name: str
    outcome: str
    said: str
    remedy: str = ""


def test_doctor_rows_show_the_remedy_of_what_is_not_well() -> None:
    found = [FakeCheck("python", "pass", "3.11", "none"), FakeCheck("disk", "fail", "full", "free some")]
    lines = report.rows(found)  # type: ignore[arg-type]  # fakes with the same fields
    assert lines[0].startswith("pass  python")
    assert lines[1].startswith("FAIL  disk")
    assert "-> free some" in lines[2]
    assert len(lines) == 3


@pytest.mark.parametrize(("outcome", "code"), [("pass", 0), ("warn", 0), ("fail", 1)])
def test_doctor_exits_1_on_a_failure_only(monkeypatch: pytest.MonkeyPatch, outcome: str, code: int) -> None:
    from deployments import doctor

    monkeypatch.setattr(doctor, "checks", lambda: [FakeCheck("disk", outcome, "said", "do it")])
    done = hotdesk("doctor", "--json")
    assert done.exit_code == code
    assert json.loads(done.output)[0]["outcome"] == outcome
