"""The command line: what it lists, how it fails, and that asking for help costs nothing."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deployments import report
from deployments.ask import explain, request_for
from deployments.cli import app
from deployments.up_lock import up_lock
from governor.errors import BadInput
from governor.policy.facts import Kind
from governor.settings import Home

COMMANDS = ("up", "tour", "down", "status", "doctor", "pause", "resume", "env", "ask", "bootstrap")
HEAVY = ("prefect", "litellm", "sqlalchemy", "xllamacpp", "psutil", "rich.live")


def hotdesk(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_help_lists_every_command_and_hides_fetch() -> None:
    said = hotdesk("--help").output
    for command in COMMANDS:
        assert f"  {command} " in said
    assert "fetch" not in said


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
    for kind in ("summarise", "write"):
        request = request_for("x", kind=kind, labels=[])
        assert request.choices is None
        assert request.json_schema is None


def test_answer_is_explained_with_model_reason_and_problems() -> None:
    from governor.asking import Answer, Asked

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
