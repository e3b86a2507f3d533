"""`hotdesk use`: an agent leaves its samples for an operator's own data, or goes back; `prefect.yaml` stays untouched.

Checks everything, then writes it to the state folder, then tells the server where one answers. What it comes to at
a deploy is `deployments.uses`; the table of all agents is `deployments.use_list`.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel

from blocks.reading.places import STATE_FOLDER, locate
from deployments.agents import SAMPLE_TAG, agents_of, find_agent
from deployments.environment import apply_client_environment
from deployments.fleet import Entry, checkout, did_you_mean, read_fleet
from deployments.form import PARAMETERS, problems
from deployments.sending import Server
from deployments.uses import SOURCE, ZONE, ZONE_KEY, Uses, keep, put_back, use_of
from governor.errors import BadInput
from governor.policy.requests import Privacy
from governor.remembered import forget
from governor.settings import prepare_home
from governor.state.sessions import recall, remember

WEB = ("http://", "https://")
NOTHING = "Nothing was changed."
WHAT = "wants to know what to change"
NOTHING_SAID = ("", "none", "null")
LATER = "No server was told; it takes effect at the next `hotdesk up` or `hotdesk bootstrap`."
# The longest text that a form of the fleet takes has 4000; labels and fields are several.
MOST_CHARACTERS = 20_000
# Characters of a refused value, and names, in one sentence.
MOST_SHOWN = 200
MOST_NAMED = 5


@dataclass(frozen=True)
class Wishes:
    """What the command line asked for. `values`: such as `max_items=5`."""

    source: str | None = None
    values: tuple[str, ...] = ()
    due: str | None = None
    timezone: str | None = None
    privacy: str | None = None
    reset: bool = False
    ask_again: bool = False

    def texts(self, cwd: Path) -> dict[str, str]:
        """Each key with the text that was given for it.

        Raises:
            BadInput: a value has no key, a key two values, or the source is not there.
        """
        privacy = self.privacy.replace("-", "_") if self.privacy else None
        named = {"due": self.due, ZONE: self.timezone, "privacy": privacy, SOURCE: self.source}
        found = {key: checked_text(text) for key, text in named.items() if text is not None}
        for pair in self.values:
            key, equals, text = checked_text(pair).partition("=")
            key = key.strip()
            if not equals or not key:
                raise _wrong(f"`--set {pair[:80]}` has no key.", "Write it as --set max_items=5.")
            if key in found:
                raise _wrong(f"`{key}` was given twice.", "Give it once.")
            found[key] = text
        if SOURCE in found:
            found[SOURCE] = place_of(found[SOURCE], cwd)
        return found


def run_use(
    agent: str | None, wishes: Wishes, *, cwd: Path | None = None, server: Server | None = None
) -> Iterator[str]:
    """Do it; what to tell a person, line by line.

    Raises:
        BadInput: no such agent, no such source, a value that its flow or the server does not take; nothing was changed
            then.
    """
    where = prepare_home()
    apply_client_environment(where)  # before the flow's file imports Prefect
    server, agents = server or Server(where), agents_of(read_fleet())
    if agent is None:
        yield from _whole_fleet(wishes, agents, server)
        return
    name = find_agent(agent, agents)
    texts = wishes.texts(cwd or Path.cwd())
    if [wishes.reset, bool(texts), wishes.ask_again].count(True) != 1:
        some = wishes.reset or wishes.ask_again
        raise _wrong(
            f"`hotdesk use {name}` {'takes no other wish beside --reset or --ask-again' if some else WHAT}.",
            f"hotdesk use {name} --source PATH; --set key=value; --reset; --ask-again; or hotdesk use --list.",
        )
    if wishes.ask_again:
        yield f"{forget(name)} answers to {name} were forgotten; its next run asks a model again"
        return
    with Uses(where).turn():
        before = use_of(name)
        if wishes.reset:
            keep(name, own={}, told={}, now=datetime.now(UTC))
        else:
            _wish(name, agents[name], texts)
    try:
        yield from _told(name, agents[name], server, wished=not wishes.reset)
    except BadInput as error:
        with Uses(where).turn():
            put_back(name, before)
        raise _wrong(error.happened, "Give another value. What the agent was told before still holds.") from error


def _wrong(happened: str, remedy: str) -> BadInput:
    return BadInput(happened, means=NOTHING, remedy=remedy)


def checked_text(text: str) -> str:
    """The text, where it can be kept and sent.

    Raises:
        BadInput: it is no UTF-8, such as the name of a file of an older system, or too long.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        shown = text[:200].encode(errors="backslashreplace").decode()
        raise _wrong(f"{shown!r} is no UTF-8.", "Rename the file, or write the value in UTF-8.") from error
    if len(text) > MOST_CHARACTERS:
        raise _wrong(f"`{text[:40]}...` has {len(text)} characters.", f"At most {MOST_CHARACTERS} are taken.")
    return text


def place_of(source: str, cwd: Path) -> str:
    """The source as agents find it from anywhere: web addresses as they are, paths from the operator's folder.

    Raises:
        BadInput: there is nothing, it cannot be read, or no agent would ask that address.
    """
    checked_text(source)
    try:
        if source.lower().startswith(WEB):
            from blocks.reading.guarded_http import target

            target(source)
            return source
        if not source.startswith(STATE_FOLDER):
            source = checked_text(os.path.normpath(cwd / Path(source).expanduser()))
        path = locate(source)
    except BadInput as error:
        raise _wrong(error.happened, "Give a file, a folder or an http(s) address without a password.") from error
    needed = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    if not os.access(path, needed):
        raise _wrong(
            f"The source {source} cannot be used: you may not read it.",
            "Give yourself the right to read it, or another source.",
        )
    return source


def _wish(name: str, entry: Entry, texts: Mapping[str, str]) -> None:
    """Check the wishes against the flow's own form, then keep them. They are newer than any edit on the server."""
    from deployments.flow_parameters import form_of, load_flow, model_of

    model = model_of(load_flow(entry.entrypoint, checkout()))
    if model is None:
        raise _wrong(f"{name} takes no parameters.", "Choose another agent.")
    use, now = use_of(name), datetime.now(UTC)
    own, told = (dict(use.parameters), dict(use.deployed)) if use else ({}, {})
    wished = checked(model, {**form_of(entry), **_still_taken(model, own)}, texts=texts, of=name)
    keep(name, own={**own, **wished}, told={key: told[key] for key in told if key not in wished}, now=now)


def _still_taken(model: type[BaseModel], own: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in own.items() if key in model.model_fields}


def checked(model: type[BaseModel], values: Mapping[str, Any], *, texts: Mapping[str, str], of: str) -> dict[str, Any]:
    """The wished values, as JSON has them: a text where the flow takes a text, else read as YAML.

    Raises:
        BadInput: with the key and what is allowed.
    """
    whole = dict(values)
    for key, text in texts.items():
        if key not in model.model_fields:
            raise _wrong(f"{of} has no parameter `{key}`.", did_you_mean(key, model.model_fields))
        whole[key] = _value(model, whole, key, text)
    if found := problems(model, whole):
        first = found[0]
        said = texts.get(first.first, "")[:MOST_SHOWN]
        raise _wrong(f"{of}: `{first.key}` {said!r}: {first.what}.", first.remedy)
    parsed = model.model_validate(whole).model_dump(mode="json")
    return {key: parsed[key] for key in texts}


def _value(model: type[BaseModel], values: Mapping[str, Any], key: str, text: str) -> Any:
    """The first reading of `text` that the flow takes; the text itself where it takes none."""
    readings: list[Any] = [text]
    if text.lower() in NOTHING_SAID:
        readings.insert(0, None)
    with suppress(yaml.YAMLError, ValueError, RecursionError):  # also a 30th of February, and thousands of brackets
        readings.append(yaml.safe_load(text))
    for reading in readings:
        if not any(problem.first == key for problem in problems(model, {**values, key: reading})):
            return reading
    return text


def _told(name: str, entry: Entry, server: Server, *, wished: bool) -> Iterator[str]:
    """Tell the server, and say what the agent works on now."""
    done = server.send({name: entry})
    use = use_of(name)
    own = use.parameters if use else {}
    written = entry.parameters.get(PARAMETERS, {})
    source = own.get(SOURCE, written.get(SOURCE))
    sample = SAMPLE_TAG in entry.tags and source == written.get(SOURCE)
    yield f"{name} works on {source} ({'samples' if sample else 'your own data'})"
    for key, value in own.items():
        if key != SOURCE:
            yield f"  {key}: {value}"
    privacy = own.get("privacy", written.get("privacy", Privacy.LOCAL_ONLY))
    if not sample and privacy != Privacy.LOCAL_ONLY:
        yield f"Its words may leave this machine (privacy {privacy}); --privacy local-only keeps them here."
    for deployed in done:
        yield from (f"{name} {said}" for said in deployed.said)
        yield _pace(name, paused=deployed.paused)
    if not done:
        yield LATER
    if sample and wished:
        yield f"It is still on samples: hotdesk use {name} --source PATH."


def _pace(name: str, *, paused: bool) -> str:
    if paused:
        return f"It is paused; it still runs on demand: prefect deployment run '{name}'"
    return f"It runs at its times; now: prefect deployment run '{name}'"


def _whole_fleet(wishes: Wishes, agents: Mapping[str, Entry], server: Server) -> Iterator[str]:
    """The time zone of all agents."""
    if wishes.timezone is None or wishes != Wishes(timezone=wishes.timezone):
        raise _wrong(
            "No agent was named.",
            "hotdesk use AGENT --source PATH; hotdesk use --list; hotdesk use --timezone ZONE for all of them.",
        )
    try:
        ZoneInfo(wishes.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _wrong(f"There is no time zone {wishes.timezone[:80]!r}.", "Write one like Europe/Berlin.") from error
    with Uses(server.where).turn():
        before = recall(ZONE_KEY)
        remember(ZONE_KEY, wishes.timezone)
    try:
        done = server.send(agents)
    except BadInput as error:
        remember(ZONE_KEY, before)
        raise BadInput(
            error.happened,
            means="The zone is as it was; who was told the other one is told so at the next `hotdesk bootstrap`.",
            remedy="Give another zone.",
        ) from error
    yield f"times that are written as UTC are times of {wishes.timezone} now (before: {before or 'UTC'})"
    untold = sorted(agents.keys() - {deployed.name for deployed in done})
    yield f"{len(done)} agents were told" if done else LATER
    if done and untold:
        more = f" and {len(untold) - MOST_NAMED} more" if len(untold) > MOST_NAMED else ""
        yield f"not told yet, but at the next `hotdesk bootstrap`: {', '.join(untold[:MOST_NAMED])}{more}"
