"""`hotdesk use --list`: what every agent works on, whether it runs at its times, when it is due. Changes nothing."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from deployments.agents import SAMPLE_TAG, agents_of
from deployments.fleet import Entry, read_fleet
from deployments.form import PARAMETERS
from deployments.sending import Server
from deployments.uses import SOURCE, ZONE, ZONE_KEY, Seen, all_uses
from governor.settings import prepare_home
from governor.state.agents import AgentUse
from governor.state.sessions import recall


@dataclass(frozen=True)
class Row:
    """One agent. `paused`: None while no server answers; `own`: keys that its operator set."""

    agent: str
    source: str
    samples: bool
    paused: bool | None
    due: str | None
    timezone: str
    own: tuple[str, ...]


def run_list(*, as_json: bool, server: Server | None = None) -> str:
    """The table, or the same as JSON."""
    where = prepare_home()
    found = rows(agents_of(read_fleet()), all_uses(), server or Server(where), zone=recall(ZONE_KEY))
    if as_json:
        return json.dumps([asdict(row) for row in found], indent=2)
    return "\n".join(table(found))


def rows(agents: Mapping[str, Entry], uses: Mapping[str, AgentUse], server: Server, *, zone: str) -> list[Row]:
    """Every agent as the server has it, else as the next deploy will tell it."""
    seen = server.look(list(agents))
    return [_row(name, entry, uses.get(name), seen.get(name), zone) for name, entry in sorted(agents.items())]


def _row(name: str, entry: Entry, use: AgentUse | None, seen: Seen | None, zone: str) -> Row:
    written, own = entry.parameters.get(PARAMETERS, {}), use.parameters if use else {}
    local = {ZONE: zone or "UTC", **{key: value for key, value in written.items() if value != "UTC"}, **own}
    unsent = use is not None and not own.keys() <= use.deployed.keys()
    form = local if seen is None or unsent else {ZONE: local[ZONE], **seen.parameters}
    source = str(form.get(SOURCE, ""))
    return Row(
        agent=name,
        source=source,
        samples=SAMPLE_TAG in entry.tags and source == written.get(SOURCE),
        paused=seen.paused if seen else None,
        due=form.get("due"),
        timezone=str(form[ZONE]),
        own=tuple(sorted(own)),
    )


def table(found: list[Row]) -> list[str]:
    """One line each, the longest names in full, and a count."""
    wide = max((len(row.agent) for row in found), default=5)
    lines = [f"{'agent':<{wide}}  {'data':<7}  {'times':<6}  {'due':<24}  source"]
    for row in found:
        times = {None: "?", True: "paused", False: "on"}[row.paused]
        due = f"{row.due} {row.timezone}" if row.due else "-"
        lines.append(
            f"{row.agent:<{wide}}  {'samples' if row.samples else 'own':<7}  {times:<6}  {due:<24}  {row.source}"
        )
    samples = sum(row.samples for row in found)
    lines.append(f"{len(found) - samples} of {len(found)} agents work on your own data, {samples} on samples")
    if samples:
        lines.append("hotdesk use AGENT --source PATH moves one of them; --reset moves it back")
    return lines
