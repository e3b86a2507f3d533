"""Outputs: whole files only, tables that hold, and a byline that names the demo model as one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from blocks.writing import byline, cell, slug, table, write_output
from governor.answers import Answer
from governor.settings import Home

NOW = datetime(2026, 11, 24, 7, 0, tzinfo=UTC)
DEMO = Answer("text", "text", True, [], tier="tiny", model="SmolLM2-135M", demo=True, reason="")


def test_the_byline_says_model_demo_model_or_rules() -> None:
    assert byline(DEMO) == "demo model, 135M"
    assert byline(replace(DEMO, demo=False, model="qwen3:8b")) == "qwen3:8b"
    assert byline(replace(DEMO, verified=False)) == "by rules only"


@pytest.mark.parametrize("value", ["a|b", "a\nb", "<img src=x>"])
def test_a_cell_keeps_its_row_whole(value: str) -> None:
    rows = table(["one", "two"], [[value, "x"]]).splitlines()
    assert len(rows) == 3
    assert "<img" not in rows[2]
    assert rows[2].replace("\\|", "").count("|") == 3
    assert "\n" not in cell(value)


def test_a_slug_fits_an_artifact_key() -> None:
    assert slug("log-watch/App 1") == "log-watch-app-1"


def test_outputs_are_whole_and_never_overwrite_each_other(hotdesk_home: Home) -> None:
    times = (NOW, NOW + timedelta(microseconds=1))
    paths = [write_output("digest/news", "News", "body", capped=False, now=now) for now in times]
    assert len(set(paths)) == 2
    assert all(path.read_text() == "# News\n\nbody\n" for path in paths)
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)


def test_a_capped_output_says_so(hotdesk_home: Home) -> None:
    assert "capped" in write_output("digest/news", "News", "body", capped=True, now=NOW).read_text()
