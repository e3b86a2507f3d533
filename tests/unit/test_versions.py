"""Versions that break silently are refused before anything starts, each with its reason and the next step."""

import io

import pytest
from packaging.requirements import Requirement
from rich.console import Console

from deployments import versions
from deployments.checks import machine
from deployments.ground import prepare_ground
from deployments.screen import Screen
from deployments.up import run_bootstrap
from deployments.versions import BOUNDED, bounds, findings, installed, refuse_wrong_versions
from governor.errors import NotReady
from governor.settings import Home

ASKED = {
    "prefect": Requirement("prefect>=3.8.8,<3.9"),
    "fastapi": Requirement("fastapi>=0.139,<0.151"),
    "sqlalchemy": Requirement("sqlalchemy>=2.0.40,<2.1"),
    "litellm": Requirement("litellm>=1.106,<1.107"),
    "nvidia-ml-py": Requirement("nvidia-ml-py>=12.560"),
}
SOUND: dict[str, str | None] = {
    "prefect": "3.8.8",
    "fastapi": "0.150.0",
    "sqlalchemy": "2.0.44",
    "litellm": "1.106.2",
    "nvidia-ml-py": "13.580.82",
}


def refusal(**changed: str | None) -> NotReady:
    there = {**SOUND, **{name.replace("_", "-"): found for name, found in changed.items()}}
    with pytest.raises(NotReady) as caught:
        refuse_wrong_versions(there.get, ASKED)
    return caught.value


@pytest.mark.parametrize(
    ("name", "found", "because"),
    [
        ("fastapi", "0.151.0", "outside the measured bounds"),  # a null in a defaulted body is answered 422
        ("fastapi", "0.155.0", "outside the measured bounds"),  # the server does not import
        ("sqlalchemy", "2.1.0", "outside the measured bounds"),  # looks healthy, schedules nothing
        ("sqlalchemy", "2.1.0b1", "outside the measured bounds"),
        ("prefect", "3.9.0", "outside the measured bounds"),
        ("litellm", "1.82.7", "compromised"),
        ("litellm", "1.82.8", "compromised"),
        ("litellm", "1.107.0", "compromised"),
        ("litellm", "not a version", "outside the measured bounds"),
        ("nvidia_ml_py", None, "not installed"),
        ("pynvml", "11.5.3", "takes the place of nvidia-ml-py's module"),
    ],
)
def test_a_version_that_breaks_silently_is_refused_with_its_name(name: str, found: str | None, because: str):
    error = refusal(**{name: found})
    assert error.data["packages"] == [name.replace("_", "-")]
    assert because in error.happened
    assert "Nothing was started" in error.means and "make setup" in error.remedy


def test_every_wrong_version_is_named_at_once_and_the_remedy_once():
    error = refusal(fastapi="0.155.0", sqlalchemy="2.1.0")
    assert error.data["packages"] == ["fastapi", "sqlalchemy"]
    assert error.remedy.count("make setup") == 1


def test_after_a_compromised_release_the_secrets_are_renewed():
    assert "Renew every secret" in refusal(litellm="1.107.0").remedy


@pytest.mark.parametrize("pynvml", [None, "12.0.0", "13.0.1"])
def test_sound_versions_pass_and_a_harmless_wrapper_is_not_mentioned(pynvml: str | None):
    there = {**SOUND, "pynvml": pynvml}
    refuse_wrong_versions(there.get, ASKED)
    assert [item.name for item in findings(there.get, ASKED)] == list(BOUNDED)


def test_this_environment_is_within_the_bounds_of_pyproject_and_the_doctor_says_so():
    assert set(BOUNDED) <= set(bounds())
    refuse_wrong_versions()
    assert [(row.name, row.outcome) for row in machine.packages()] == [(name, "pass") for name in BOUNDED]


def test_nothing_is_begun_with_wrong_versions(monkeypatch: pytest.MonkeyPatch, hotdesk_home: Home):
    there = {**{name: installed(name) for name in BOUNDED}, "prefect": "3.9.0"}
    monkeypatch.setattr(versions, "version", there.get)
    said = io.StringIO()
    with pytest.raises(NotReady, match=r"prefect 3\.9\.0"):
        prepare_ground(hotdesk_home, Screen(Console(file=said)))
    with pytest.raises(NotReady, match=r"prefect 3\.9\.0"):
        run_bootstrap(None)
    assert said.getvalue() == ""
