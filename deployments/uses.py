"""What operators told their agents: kept in the state folder, laid over `prefect.yaml` at every deploy.

Decides the parameters, the tags, the times and the pause of one agent; how parameters are merged is
`deployments.merging`, sending them is left to `deployments.deploying`.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from sqlalchemy import delete, select

from deployments.agents import AGENT_TAG, SAMPLE_TAG
from deployments.fleet import Entry
from deployments.form import PARAMETERS
from deployments.merging import DEFAULTS, SOURCE, Merged, merge, record_of
from governor.errors import NotReady
from governor.settings import Home
from governor.state.agents import AgentUse
from governor.state.sessions import reading, recall, transaction

ZONE = "timezone"
ZONE_KEY = "fleet_timezone"
UTC_NAMES = (None, "UTC")
# One agent is sent in about 0.1 s; who waits longer than this waits for a server that hangs.
TURN_SECONDS = 60.0
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Seen:
    """What the server has of one agent."""

    parameters: Mapping[str, Any]
    tags: Sequence[str]
    paused: bool


@dataclass(frozen=True)
class Settled:
    """One agent as it is to be deployed.

    Attributes:
        paused: None leaves it as it is. own: what its operator told it, None for what is no agent.
        told: what the server knows once it was sent.
    """

    entry: Entry
    paused: bool | None = None
    own: Mapping[str, Any] | None = None
    told: Mapping[str, Any] | None = None
    said: tuple[str, ...] = ()


def settle(
    entry: Entry, model: type[BaseModel], *, use: AgentUse | None, seen: Seen | None, zone: str, round_due: bool
) -> Settled:
    """The agent with its operator's words; pure.

    Args:
        entry: as written.
        use: what is known of it in the state folder.
        seen: what the server has, None where it does not know the agent.
        zone: the fleet's time zone, '' where nobody set one.
        round_due: whether the first round, which pauses what is on samples, is still to come.
    """
    own, told = (use.parameters, use.deployed) if use else ({}, {})
    written = _in_zone(entry.parameters.get(PARAMETERS, {}), model, zone)
    by_hand = seen is not None and _sent_by_hand(entry, own, told, seen)
    merged = merge(model, written, own=own, told=told, server=None if seen is None or by_hand else seen.parameters)
    in_use = SOURCE in merged.own
    parameters = {**entry.parameters, PARAMETERS: merged.parameters}
    changed: dict[str, Any] = {"parameters": parameters}
    if zone or ZONE in merged.own:
        changed["schedules"] = _schedules_in(entry, str(merged.parameters.get(ZONE, zone)))
    if in_use:
        changed["tags"] = tuple(tag for tag in entry.tags if tag != SAMPLE_TAG)
    paused = _paused(entry, merged, told, seen, known=use is not None)
    if seen is None and not in_use and not round_due and SAMPLE_TAG in entry.tags:
        paused = True  # it came with an upgrade, after the round that would have paused it
    again = ", ".join(key for key in merged.own if key in told) if by_hand else ""
    said = (f"has again what it was told ({again}): the server had all as written", *merged.said)
    settled = entry.model_copy(update=changed)
    return Settled(settled, paused, merged.own, record_of(model, merged.parameters), said if again else merged.said)


def _sent_by_hand(entry: Entry, own: Mapping[str, Any], told: Mapping[str, Any], seen: Seen) -> bool:
    """Whether `prefect deploy` sent the entry as written over what was told: nobody edited that.

    It also brings back the tag that an agent in use lost; where there is none, only a form that is all as written
    tells.
    """
    was_in_use = SOURCE in own and own.get(SOURCE) == told.get(SOURCE)
    if was_in_use and SAMPLE_TAG in entry.tags:
        return SAMPLE_TAG in seen.tags
    last = {key: value for key, value in told.items() if key != DEFAULTS}
    return last != seen.parameters == to_jsonable_python(entry.parameters.get(PARAMETERS, {}))


def _paused(entry: Entry, merged: Merged, told: Mapping[str, Any], seen: Seen | None, *, known: bool) -> bool | None:
    """Whoever begins on its own data is unpaused, whoever goes back to samples is paused; else it stays."""
    is_sample = seen is not None and SAMPLE_TAG in seen.tags
    if SOURCE in merged.own:
        begins = merged.own[SOURCE] != told.get(SOURCE) and (SOURCE not in merged.edited or is_sample)
        return False if begins or seen is None else None
    was_in_use = known and told.get(SOURCE) != merged.parameters.get(SOURCE)
    goes_back = was_in_use and seen is not None and SAMPLE_TAG in entry.tags and not is_sample
    return True if goes_back else None


def _in_zone(form: Mapping[str, Any], model: type[BaseModel], zone: str) -> dict[str, Any]:
    """What is written, with the fleet's zone in the place of UTC."""
    if not zone or ZONE not in model.model_fields or form.get(ZONE) not in UTC_NAMES:
        return dict(form)
    return {**form, ZONE: zone}


def _schedules_in(entry: Entry, zone: str) -> tuple[Any, ...]:
    """Its times, read as times of `zone` where they are written as UTC."""
    return tuple(
        when.model_copy(update={"timezone": zone}) if when.timezone in UTC_NAMES else when for when in entry.schedules
    )


class Uses:
    """The rows of one state folder, and a turn for whoever changes them."""

    def __init__(self, where: Home) -> None:
        self._lock = where.root / "deploying.lock"

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Alone from reading an agent to having told the server: `hotdesk use` may run beside `hotdesk up`.

        Raises:
            NotReady: another process has it for a minute.
        """
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _wait_for(handle)
            yield
        finally:
            os.close(handle)  # also drops the lock

    def settle(self, name: str, entry: Entry, *, model: type[BaseModel] | None, seen: Seen | None) -> Settled:
        """The agent `name` with what is known of it here; what is no agent stays as written."""
        if model is None or AGENT_TAG not in entry.tags:
            return Settled(entry)
        from deployments.first_round import is_due  # imports Prefect

        return settle(entry, model, use=use_of(name), seen=seen, zone=recall(ZONE_KEY), round_due=is_due())

    def record(self, name: str, settled: Settled, *, now: datetime) -> None:
        """The server was told."""
        if settled.own is not None:
            keep(name, own=settled.own, told=settled.told or {}, now=now)


def use_of(name: str) -> AgentUse | None:
    """What is known of one agent."""
    with reading() as session:
        return session.get(AgentUse, name)


def all_uses() -> dict[str, AgentUse]:
    """The same of every agent that was deployed from this state folder."""
    with reading() as session:
        return {use.agent: use for use in session.scalars(select(AgentUse))}


def keep(name: str, *, own: Mapping[str, Any], told: Mapping[str, Any], now: datetime) -> None:
    """Write what an agent's operator told it, and what the server was told."""
    row = AgentUse(
        agent=name, parameters=to_jsonable_python(dict(own)), deployed=to_jsonable_python(dict(told)), updated_at=now
    )
    with transaction() as session:
        session.merge(row)


def put_back(name: str, before: AgentUse | None) -> None:
    """The row as it was, for what the server refused."""
    if before is not None:
        keep(name, own=before.parameters, told=before.deployed, now=before.updated_at)
        return
    with transaction() as session:
        session.execute(delete(AgentUse).where(AgentUse.agent == name))


def _wait_for(handle: int) -> None:
    deadline = time.monotonic() + TURN_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise NotReady(
                    f"Another command has been deploying for {TURN_SECONDS:.0f} s.",
                    means="Nothing was changed.",
                    remedy="Wait for its end, or see with `hotdesk doctor` whether the server answers; then try again.",
                ) from error
            time.sleep(LOOK_SECONDS)
