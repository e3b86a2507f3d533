"""Every parameter of `prefect.yaml` against its flow's own model, exactly; and the file against Prefect's schema."""

import copy
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from prefect.cli.deploy._models import PrefectYamlModel

from deployments.bootstrap import bootstrap
from deployments.fleet import Entry, checkout, read_fleet
from deployments.flow_parameters import check_entry, form_of, load_flow, model_of
from deployments.form import problems
from governor.errors import BadInput
from governor.profile import current_profile

ROOT = checkout()
TEXT = (ROOT / "prefect.yaml").read_text()
FLEET = read_fleet()
FLOWS = {entrypoint: load_flow(entrypoint, ROOT) for entrypoint in {entry.entrypoint for entry in FLEET}}
AGENTS = [entry for entry in FLEET if "agent" in entry.tags]
INBOX = next(entry for entry in FLEET if entry.name == "inbox")


def name_of(entry: Entry) -> str:
    return f"{entry.function}/{entry.name}"


@pytest.mark.parametrize("entry", AGENTS, ids=name_of)
def test_every_key_is_one_of_the_flows_model_and_every_value_fits(entry: Entry) -> None:
    model = model_of(FLOWS[entry.entrypoint])
    assert model is not None
    assert problems(model, form_of(entry)) == []
    assert set(form_of(entry)) <= set(model.model_fields)
    assert set(entry.parameters) == {"parameters"}


@pytest.mark.parametrize("entry", [entry for entry in FLEET if entry not in AGENTS], ids=name_of)
def test_the_house_takes_no_parameters(entry: Entry) -> None:
    assert model_of(FLOWS[entry.entrypoint]) is None
    check_entry(entry, FLOWS[entry.entrypoint])


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"sourse": "x"}, ("deployment `inbox`", "`sourse`: unknown key", "Did you mean `source`?")),
        ({"max_items": 900}, ("`max_items`", "less than or equal to 200", "Newest items")),
        ({"labels": {"one": "alone"}}, ("`labels`", "at least 2 items")),
        ({"due": "noon"}, ("`due`", "such as 07:00")),
    ],
)
def test_a_parameter_that_does_not_fit_is_named_before_anything_is_sent(
    form: dict[str, Any], says: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # nobody answers: to be sent is another error
    wrong = INBOX.model_copy(update={"parameters": {"parameters": {**form_of(INBOX), **form}}})
    with pytest.raises(BadInput) as caught:
        bootstrap(current_profile(), [wrong])
    assert caught.value.means == "Nothing was deployed."
    assert all(part in str(caught.value) for part in says)


def test_parameters_of_a_single_schedule_are_checked_too() -> None:
    schedule = INBOX.schedules[0].model_copy(update={"parameters": {"parameters": {"max_item": 1}}})
    wrong = INBOX.model_copy(update={"schedules": (schedule,)})
    with pytest.raises(BadInput, match="max_item"):
        check_entry(wrong, FLOWS[INBOX.entrypoint])


def test_editors_know_the_file_by_prefects_schema_and_it_fits() -> None:
    first = TEXT.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=https://raw.githubusercontent.com/PrefectHQ/prefect/")
    assert first.endswith("/schemas/prefect.yaml.schema.json")
    # That file is made of this model; ours knows the release that is installed.
    schema = Draft202012Validator(PrefectYamlModel.model_json_schema())
    document = yaml.safe_load(TEXT)
    assert list(schema.iter_errors(document)) == []
    wrong = copy.deepcopy(document)
    wrong["deployments"][0]["schedules"][0]["crn"] = "* * * * *"
    assert list(schema.iter_errors(wrong))
