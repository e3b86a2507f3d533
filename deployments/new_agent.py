"""`hotdesk new-agent`: a new agent as an entry of `prefect.yaml`, and with steps of its own as a flow and a test too.

Writes only what reads back whole; whatever fails puts everything back as it was. Tells no server.
"""

import ast
import builtins
import keyword
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from deployments.agents import AGENT_TAG, SAMPLE_TAG, name_of
from deployments.environment import apply_client_environment
from deployments.fleet import PREFECT_FILE, Entry, checkout, installed_modules, read_fleet
from deployments.fleet_text import free_time, inserted, scalar, written
from deployments.use import checked_text, place_of
from deployments.uses import ZONE_KEY, Uses
from governor.errors import BadInput, HotdeskError, NotReady
from governor.settings import prepare_home
from governor.state.sessions import recall

KINDS = PROMPT, STEPS = "prompt", "steps"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MOST_CHARACTERS = 40
SAMPLE = "flows/samples/feeds/news.atom.xml"
NOTHING = "Nothing was changed."
# Some name, to read the template by.
WORDS = {"dashed": "an-agent", "module": "an_agent", "classed": "AnAgent"}
ENTRYPOINT = "flows/prompt_agent.py:prompt_agent"


@dataclass(frozen=True)
class Draft:
    """What the command line says about the new agent. `answers` and `fields`: such as `urgent=needs me today`."""

    name: str
    kind: str = PROMPT
    source: str | None = None
    about: str | None = None
    question: str | None = None
    answers: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The name as Python's."""
        return self.name.replace("-", "_")


def run_new_agent(draft: Draft, *, root: Path | None = None, cwd: Path | None = None) -> Iterator[str]:
    """Write it; what was written and what comes next, line by line.

    Raises:
        BadInput: the name is taken or no good one, the source is not there, or the flow refuses a value.
        NotReady: the checkout cannot be written to.
    """
    where, root = prepare_home(), root or checkout()
    apply_client_environment(where)  # before the flow's file imports Prefect
    with Uses(where).turn():
        entries = read_fleet(root)
        _check(draft, entries, root)
        source = _source(draft.source, root, cwd or Path.cwd())
        hour, minute = free_time(entries)
        new = _files(draft, root) | {
            root / PREFECT_FILE: _fleet(draft, _text_of(root / PREFECT_FILE), source, f"{minute} {hour} * * *")
        }
        entry = _write(new, lambda: _reads_back(draft, root))
    for path in new:
        yield f"wrote {path.relative_to(root)}"
    name = name_of(entry, root)
    yield f"{name} has its time at {hour:02}:{minute:02} {recall(ZONE_KEY) or 'UTC'} every day and reads {source}"
    if draft.kind == STEPS:
        yield f"test it:   python -m pytest tests/unit/test_flows_{draft.module}.py"
    yield "deploy it: hotdesk bootstrap"
    yield f"run it:    prefect deployment run '{name}'"
    if SAMPLE_TAG in entry.tags:
        from deployments.first_round import is_due  # imports Prefect

        when = "" if is_due() else " (until then it is paused, as all on samples are)"
        yield f"put it to work: hotdesk use {name} --source PATH{when}"


def _text_of(path: Path) -> str:
    """The file with its own line ends."""
    return path.read_bytes().decode()  # read_fleet read it, so it is UTF-8


def _check(draft: Draft, entries: list[Entry], root: Path) -> None:
    for said in filter(None, (draft.about, draft.question, *draft.answers, *draft.fields)):
        checked_text(said)
    if draft.kind not in KINDS:
        raise BadInput(f"There is no kind {draft.kind!r}.", means=NOTHING, remedy=f"Kinds are: {', '.join(KINDS)}.")
    if not NAME.fullmatch(draft.name) or len(draft.name) > MOST_CHARACTERS:
        raise BadInput(
            f"{draft.name!r} is no good name.",
            means=NOTHING,
            remedy=f"Small letters, digits and single dashes, at most {MOST_CHARACTERS}: such as press-review.",
        )
    if any(entry.name == draft.name for entry in entries):
        raise BadInput(f"There is an agent {draft.name!r}.", means=NOTHING, remedy="Choose another name.")
    if draft.kind == STEPS:
        _check_steps(draft, entries, root)


def _check_steps(draft: Draft, entries: list[Entry], root: Path) -> None:
    if draft.question or draft.answers or draft.fields:
        raise BadInput(
            "A flow with steps of its own asks what its file says.",
            means=NOTHING,
            remedy="Leave out --question, --answer and --field, or take --kind prompt.",
        )
    if _is_module(draft.module):
        raise BadInput(
            f"{draft.module!r} is the name of a module: Prefect puts flows/ first on the path, so it would be hidden.",
            means=NOTHING,
            remedy=f"Choose another name, such as {draft.name}-agent.",
        )
    if draft.module in _names_of_template() or (root / "flows" / draft.module).is_dir():
        raise BadInput(
            f"{draft.module!r} is a name that the flow itself needs, or a folder of flows/.",
            means=NOTHING,
            remedy=f"Choose another name, such as {draft.name}-agent.",
        )
    for path in _paths(draft, root).values():
        if path.exists():
            raise _is_there(path.relative_to(root), draft, entries)


def _is_there(path: Path, draft: Draft, entries: list[Entry]) -> BadInput:
    """A file of that name: somebody's, or left over from this command."""
    if any(Path(entry.flow_file).stem == draft.module for entry in entries):
        return BadInput(f"There is a file {path}.", means=NOTHING, remedy="Choose another name.")
    return BadInput(
        f"There is a file {path}, and no entry of {PREFECT_FILE} uses it.",
        means=NOTHING,
        remedy="If it is left over from a `hotdesk new-agent` that was ended, delete it; else choose another name.",
    )


def _names_of_template() -> frozenset[str]:
    """What the flow's file binds at its top, and what it may call without an import."""
    bound: set[str] = set()
    for node in ast.parse(Template(_template("flow.py.txt")).substitute(WORDS)).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Assign):
            bound |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(bound - set(WORDS.values())) | frozenset(dir(builtins))


def _is_module(module: str) -> bool:
    taken = sys.stdlib_module_names | installed_modules() | {"flows", "blocks", "governor", "deployments"}
    return keyword.iskeyword(module) or module in taken


def _source(named: str | None, root: Path, cwd: Path) -> str:
    """As the entry says it: inside the checkout from its top, else from the root of the file system."""
    if named is None:
        return SAMPLE
    place = place_of(named, cwd)
    with suppress(ValueError):
        return str(Path(place).relative_to(root))
    return place


def _paths(draft: Draft, root: Path) -> dict[str, Path]:
    """Where each template goes."""
    return {
        "flow.py.txt": root / "flows" / f"{draft.module}.py",
        "test.py.txt": root / "tests" / "unit" / f"test_flows_{draft.module}.py",
    }


def _files(draft: Draft, root: Path) -> dict[Path, str]:
    """The flow and its test."""
    if draft.kind != STEPS:
        return {}
    classed = "".join(word.capitalize() for word in draft.name.split("-"))
    words = {"dashed": draft.name, "module": draft.module, "classed": classed}
    return {path: Template(_template(name)).substitute(words) for name, path in _paths(draft, root).items()}


def _fleet(draft: Draft, text: str, source: str, cron: str) -> str:
    """`prefect.yaml` with the entry."""
    is_prompt = draft.kind == PROMPT
    tags = [AGENT_TAG, *([SAMPLE_TAG] if draft.source is None else []), "prompt-agent" if is_prompt else draft.name]
    head = {
        "name": scalar(draft.name),
        "description": scalar(draft.about or _about(draft)),
        "entrypoint": ENTRYPOINT if is_prompt else f"flows/{draft.module}.py:{draft.module}",
        "tags": scalar(tags),
        "cron": cron,
    }
    form = {"source": source, "max_items": 8, **(_asked(draft) if is_prompt else {})}
    return inserted(text, written(_template("entry.yaml.txt"), text, head=head, form=form))


def _about(draft: Draft) -> str:
    """Its description, where nobody gave one."""
    if draft.question:
        return f"Asks about every item: {' '.join(draft.question.split())[:80]}"
    return "One sentence about every item, in the item's own words."


def _asked(draft: Draft) -> dict[str, Any]:
    """The question, and what an answer must be."""
    if draft.answers and draft.fields:
        raise BadInput("Both --answer and --field were given.", means=NOTHING, remedy="Choose one of them.")
    if (draft.answers or draft.fields) and not draft.question:
        raise BadInput("There is no question.", means=NOTHING, remedy="Give --question, what is asked about each item.")
    question = draft.question or _template("question.txt").rstrip("\n")
    if draft.answers:
        return {"kind": "classify", "question": question, "answers": _pairs(draft.answers)}
    if draft.fields:
        return {"kind": "extract", "question": question, "fields": _pairs(draft.fields)}
    return {"kind": "summarise", "question": question}


def _pairs(said: tuple[str, ...]) -> dict[str, str]:
    """`label=words`; without words the label is its own."""
    split = (one.partition("=") for one in said)
    return {label.strip(): (words if equals else label).strip() for label, equals, words in split}


def _template(name: str) -> str:
    return files("deployments").joinpath("templates", name).read_text(encoding="utf-8")


def _reads_back(draft: Draft, root: Path) -> Entry:
    from deployments.flow_parameters import check_entry, load_flow

    [entry] = [entry for entry in read_fleet(root) if entry.name == draft.name]
    check_entry(entry, load_flow(entry.entrypoint, root))
    return entry


def _write(new: Mapping[Path, str], reads_back: Callable[[], Entry]) -> Entry:
    """Every file whole, the old bytes back unless all of it reads back."""
    before = {path: path.read_bytes() if path.exists() else None for path in new}
    try:
        for path, text in new.items():
            _replace(path, text.encode())
        return reads_back()
    except BaseException as error:
        for path, old in before.items():
            if old is None:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != old:
                _replace(path, old)
        if isinstance(error, HotdeskError):
            raise BadInput(
                error.happened, means=f"{NOTHING} It was tried and put back.", remedy=error.remedy
            ) from error
        if isinstance(error, OSError):
            raise NotReady(
                f"The checkout cannot be written to: {error.strerror or error}.",
                means=NOTHING,
                remedy="Make it writable and run the command again.",
            ) from error
        raise


def _replace(path: Path, data: bytes) -> None:
    """Write, sync, rename: a crash leaves the old file."""
    path = path.resolve()
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
