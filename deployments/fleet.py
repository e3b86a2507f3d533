"""The fleet: every deployment of `prefect.yaml`, checked strictly, because Prefect drops what it does not know.

Reading needs no server and imports neither Prefect nor a flow; sending it to the server is left to
`deployments.deploying`.
"""

import difflib
import sys
from collections.abc import Hashable, Iterable
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import deployments
from deployments.entrypoints import FlowSignature, flows_in
from governor.errors import BadInput

PREFECT_FILE = "prefect.yaml"
# `definitions` is Prefect's documented place for YAML anchors.
TOP_KEYS = ("name", "prefect-version", "definitions", "deployments")
# Known to Prefect, but set otherwise here: refused, so that both ways of deploying agree.
ELSEWHERE = {
    "pull": "leave it out: the checkout is recorded then",
    "build": "nothing is built",
    "push": "nothing is pushed",
    "triggers": "make an automation in the Prefect UI",
    "sla": "it exists in Prefect Cloud only",
    "schedule": "write `schedules:` with a list",
    "flow_name": "the flow's own name is used",
}


class Part(BaseModel):
    """Base of the file's parts: a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Schedule(Part):
    """When: exactly one of cron, interval (seconds) and rrule."""

    cron: str | None = None
    interval: float | None = Field(default=None, gt=0)
    rrule: str | None = None
    timezone: str | None = None
    anchor_date: str | None = None
    active: bool = True
    day_or: bool | None = None
    slug: str | None = None
    parameters: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_of(self) -> "Schedule":
        if sum(value is not None for value in (self.cron, self.interval, self.rrule)) != 1:
            raise ValueError("give exactly one of cron, interval and rrule")
        return self


class WorkPool(Part):
    """Where it runs."""

    name: str
    work_queue_name: str | None = None
    job_variables: dict[str, Any] = {}


class Concurrency(Part):
    """How many runs of one deployment at a time, and what happens to one too many."""

    limit: int = Field(gt=0)
    collision_strategy: str = Field(default="ENQUEUE", pattern="^(ENQUEUE|CANCEL_NEW)$")
    grace_period_seconds: int | None = Field(default=None, ge=60, le=86400)


class Entry(Part):
    """One deployment, with the keys that Prefect gives them."""

    name: str = Field(min_length=1, pattern=r"^[^/%&<>]+$")
    entrypoint: str
    work_pool: WorkPool
    description: str | None = None
    version: str | None = None
    tags: tuple[str, ...] = ()
    parameters: dict[str, Any] = {}
    schedules: tuple[Schedule, ...] = ()
    paused: bool | None = None
    concurrency_limit: int | Concurrency | None = None
    enforce_parameter_schema: bool = True

    @property
    def flow_file(self) -> str:
        """Path of the flow's file, relative to the checkout."""
        return self.entrypoint.rpartition(":")[0]

    @property
    def function(self) -> str:
        """Name of the flow's function."""
        return self.entrypoint.rpartition(":")[2]


def checkout() -> Path:
    """The folder that holds `flows/` and `prefect.yaml`: known from the installed package, not from the cwd."""
    return Path(deployments.__file__).resolve().parent.parent


def read_fleet(root: Path | None = None) -> list[Entry]:
    """Every deployment of `prefect.yaml`.

    Raises:
        BadInput: the file is missing or no YAML; a key, a flow file, a function or a parameter is not
            known ("did you mean"); a value has the wrong type; a name stands twice.
    """
    root = root or checkout()
    document = _load(root / PREFECT_FILE)
    _known_keys(document, TOP_KEYS, "at the top")
    raw = document.get("deployments")
    if not isinstance(raw, list) or not raw:
        raise refused("has no deployments", "List them under `deployments:`.")
    entries = [_entry(item, place) for place, item in enumerate(raw, start=1)]
    for entry in entries:
        _check_entrypoint(entry, root)
    _check_names(entries)
    return entries


# libyaml reads the fleet in a tenth of the time; not every build of PyYAML has it.
_Safe: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):
    """YAML that refuses a key written twice; plain YAML keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping, after a look at its keys as written (before `<<` merges)."""
        keys = [key.value for key, _ in node.value if key.value != "<<"]
        if twice := sorted({str(key) for key in keys if keys.count(key) > 1}):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: the key `{twice[0]}` stands twice")
        return super().construct_mapping(node, deep=deep)


def _load(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except FileNotFoundError as error:
        raise BadInput(
            f"There is no {PREFECT_FILE} in {path.parent}.",
            remedy="Install hotdesk from its checkout (`make setup`), where that file stands beside `flows/`.",
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise refused(f"cannot be read: {error}", "Correct the line named.") from error
    if not isinstance(document, dict):
        raise refused("is not a mapping", "It begins with `deployments:`.")
    return document


def _entry(item: Any, place: int) -> Entry:
    if not isinstance(item, dict):
        raise refused(f"deployment {place} is not a mapping", "Each one begins with `- name:`.")
    label = f"deployment `{item.get('name', place)}`"
    _known_keys(item, tuple(Entry.model_fields), f"in {label}")
    if template := next((text for text in _texts(item) if "{{" in text), None):
        raise refused(
            f"{label} holds a template, `{template[:60]}`, which only `prefect deploy` would fill in",
            "Write the value itself.",
        )
    try:
        return Entry.model_validate(item)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        hint = did_you_mean(str(first["loc"][-1]), _keys_at(first["loc"])) if first["type"] == "extra_forbidden" else ""
        what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise refused(f"{label}: `{where}`: {what}", hint or "Correct it; Prefect would drop it silently.") from error


def _keys_at(location: tuple[int | str, ...]) -> Iterable[str]:
    parts = {"schedules": Schedule, "work_pool": WorkPool, "concurrency_limit": Concurrency}
    return parts.get(str(location[0]), Entry).model_fields


def _known_keys(found: dict[Any, Any], known: tuple[str, ...], where: str) -> None:
    for key in found:
        if key in ELSEWHERE and key not in known:
            raise refused(f"`{key}` {where} is not used here", f"About it: {ELSEWHERE[key]}.")
        if key not in known:
            raise refused(f"unknown key `{key}` {where}", did_you_mean(str(key), known))


def _check_entrypoint(entry: Entry, root: Path) -> None:
    label, path = f"deployment `{entry.name}`", root / entry.flow_file
    if Path(entry.flow_file).parent != Path("flows") or path.suffix != ".py":
        raise refused(f"{label}: the entrypoint `{entry.entrypoint}` is not `flows/FILE.py:FUNCTION`", "Write it so.")
    if not path.is_file():
        files = [f"flows/{file.name}" for file in sorted((root / "flows").glob("[!_]*.py"))]
        raise refused(f"{label}: there is no file {entry.flow_file}", did_you_mean(entry.flow_file, files))
    if path.stem in sys.stdlib_module_names or path.stem in installed_modules():
        raise refused(
            f"{label}: {entry.flow_file} has the name of a module and would hide it, for Prefect puts"
            " `flows/` first on the path",
            "Give the file another name.",
        )
    found = flows_in(path)
    if entry.function not in found:
        raise refused(
            f"{label}: {entry.flow_file} has no flow called `{entry.function}`", did_you_mean(entry.function, found)
        )
    _check_parameters(entry, found[entry.function])


@cache
def installed_modules() -> frozenset[str]:
    """Top names of the installed packages: 0.15 s to find out (measured), too long for each of fifty entries."""
    return frozenset(packages_distributions())


def _check_parameters(entry: Entry, signature: FlowSignature) -> None:
    given = [entry.parameters, *(schedule.parameters for schedule in entry.schedules)]
    for name in [name for parameters in given for name in parameters]:
        if name not in signature.parameters and not signature.open_ended:
            raise refused(
                f"deployment `{entry.name}`: `{entry.function}` has no parameter `{name}`",
                did_you_mean(name, signature.parameters),
            )
    if missing := [name for name in signature.required if name not in entry.parameters]:
        raise refused(
            f"deployment `{entry.name}`: `{entry.function}` needs the parameter `{missing[0]}`",
            "Add it under `parameters:`.",
        )


def _check_names(entries: list[Entry]) -> None:
    seen: set[tuple[str, str]] = set()
    for entry in entries:
        if (entry.entrypoint, entry.name) in seen:
            raise refused(f"deployment `{entry.name}` of {entry.entrypoint} stands twice", "Rename one of them.")
        seen.add((entry.entrypoint, entry.name))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known name that is meant, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"Did you mean `{close[0]}`?" if close else f"Known here: {', '.join(names) or 'none'}."


def refused(what: str, remedy: str) -> BadInput:
    """Something in `prefect.yaml` that cannot be deployed as it stands."""
    text = f"{PREFECT_FILE}: {what}"
    return BadInput(f"{text}." if text[-1] not in ".:" else text, means="Nothing was deployed.", remedy=remedy)
