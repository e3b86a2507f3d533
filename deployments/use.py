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
from deployments.uses import SOURCE, ZONE, ZONE_KEY, Uses, keep, use_of
from governor.errors import BadInput
from governor.policy.requests import Privacy
from governor.settings import prepare_home
from governor.state.sessions import recall, remember

WEB = ("http://", "https://")
NOTHING = "Nothing was changed."
NOTHING_SAID = ("", "none", "null")
LATER = "No server was told; it takes effect at the next `hotdesk up` or `hotdesk bootstrap`."


@dataclass(frozen=True)
class Wishes:
    """What the command line asked for. `values`: such as `max_items=5`."""

    source: str | None = None
    values: tuple[str, ...] = ()
    due: str | None = None
    timezone: str | None = None
    privacy: str | None = None
    reset: bool = False

    def texts(self, cwd: Path) -> dict[str, str]:
        """Each key with the text that was given for it.

        Raises:
            BadInput: a value has no key, or the source is not there.
        """
        found: dict[str, str] = {}
        for pair in self.values:
            key, equals, text = pair.partition("=")
            if not equals or not key:
                raise BadInput(f"`--set {pair}` has no key.", means=NOTHING, remedy="Write it as --set max_items=5.")
            found[key.strip()] = text
        privacy = self.privacy.replace("-", "_") if self.privacy else None
        named = {"due": self.due, ZONE: self.timezone, "privacy": privacy, SOURCE: self.source}
        found |= {key: text for key, text in named.items() if text is not None}
        if SOURCE in found:
            found[SOURCE] = place_of(found[SOURCE], cwd)
        return found


def run_use(
    agent: str | None, wishes: Wishes, *, cwd: Path | None = None, server: Server | None = None
) -> Iterator[str]:
    """Do it; what to tell a person, line by line.

    Raises:
        BadInput: no such agent, no such source, a value that its flow does not take; nothing was changed then.
    """
    where = prepare_home()
    apply_client_environment(where)  # before the flow's file imports Prefect
    server, agents = server or Server(where), agents_of(read_fleet())
    if agent is None:
        yield from _whole_fleet(wishes, agents, server)
        return
    name = find_agent(agent, agents)
    texts = wishes.texts(cwd or Path.cwd())
    if wishes.reset == bool(texts):
        what = "takes no other wish beside it" if wishes.reset else "wants to know what to change"
        raise BadInput(
            f"`hotdesk use {name}{' --reset' if wishes.reset else ''}` {what}.",
            means=NOTHING,
            remedy=f"hotdesk use {name} --source PATH; --set key=value; --reset; or hotdesk use --list.",
        )
    with Uses(where).turn():
        if wishes.reset:
            keep(name, own={}, told={}, now=datetime.now(UTC))
        else:
            _wish(name, agents[name], texts)
    yield from _told(name, agents[name], server, wished=not wishes.reset)


def place_of(source: str, cwd: Path) -> str:
    """The source as agents find it from anywhere: web addresses as they are, paths from the operator's folder.

    Raises:
        BadInput: there is nothing, or it cannot be read.
    """
    if source.lower().startswith(WEB):
        return source
    if not source.startswith(STATE_FOLDER):
        source = os.path.normpath(cwd / Path(source).expanduser())
    try:
        path = locate(source)
    except BadInput as error:
        raise BadInput(error.happened, means=NOTHING, remedy="Give a file, a folder or an http(s) address.") from error
    needed = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    if not os.access(path, needed):
        raise BadInput(
            f"The source {source} cannot be used: you may not read it.",
            means=NOTHING,
            remedy="Give yourself the right to read it, or another source.",
        )
    return source


def _wish(name: str, entry: Entry, texts: Mapping[str, str]) -> None:
    """Check the wishes against the flow's own form, then keep them. They are newer than any edit on the server."""
    from deployments.flow_parameters import form_of, load_flow, model_of

    model = model_of(load_flow(entry.entrypoint, checkout()))
    if model is None:
        raise BadInput(f"{name} takes no parameters.", means=NOTHING, remedy="Choose another agent.")
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
            remedy = did_you_mean(key, model.model_fields)
            raise BadInput(f"{of} has no parameter `{key}`.", means=NOTHING, remedy=remedy)
        whole[key] = _value(model, whole, key, text)
    if found := problems(model, whole):
        first = found[0]
        said = texts.get(first.first, "")
        raise BadInput(f"{of}: `{first.key}` {said!r}: {first.what}.", means=NOTHING, remedy=first.remedy)
    parsed = model.model_validate(whole).model_dump(mode="json")
    return {key: parsed[key] for key in texts}


def _value(model: type[BaseModel], values: Mapping[str, Any], key: str, text: str) -> Any:
    """The first reading of `text` that the flow takes; the text itself where it takes none."""
    readings: list[Any] = [text]
    if text.lower() in NOTHING_SAID:
        readings.insert(0, None)
    with suppress(yaml.YAMLError):
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
    for deployed in done or ():
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
        raise BadInput(
            "No agent was named.",
            means=NOTHING,
            remedy="hotdesk use AGENT --source PATH; hotdesk use --list; hotdesk use --timezone ZONE for all of them.",
        )
    try:
        ZoneInfo(wishes.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadInput(
            f"There is no time zone {wishes.timezone!r}.", means=NOTHING, remedy="Write one like Europe/Berlin."
        ) from error
    before = recall(ZONE_KEY) or "UTC"
    remember(ZONE_KEY, wishes.timezone)
    yield f"times that are written as UTC are times of {wishes.timezone} now (before: {before})"
    done = server.send(agents)
    yield f"{len(done)} agents were told" if done else LATER
