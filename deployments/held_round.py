"""A round before an audience: run on the server in use, said and drawn on the screen, and written down.

Who takes part is `deployments.round_agents`, the runs are `deployments.first_round`, what they came to is
`deployments.summary`, `by_kind` and `round_file`.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client

from deployments import by_kind, first_round, summary
from deployments.bootstrap_names import POOL
from deployments.round_agents import agents, chosen
from deployments.round_file import Round, write_round
from deployments.screen import Screen
from deployments.summary import Outcome
from governor.errors import NotReady
from governor.settings import Home


def hold_round(show: Screen, look: Callable[[], None], only: tuple[str, ...]) -> tuple[Round, list[str]]:
    """Every agent once, or only some; the sample agents are paused before while the first round is due. With advice.

    Only a round of the whole fleet is a first one.

    Args:
        look: called at every look; what it raises ends the round. only: kinds and names, () for the whole fleet.

    Raises:
        BadInput: there is no such agent. NotReady: the server did not answer.
    """
    try:
        with get_client(sync_client=True) as client:
            return _held(client, show, look, only)
    except httpx.HTTPError as error:
        raise NotReady(
            f"The Prefect server did not answer in the first round ({type(error).__name__}).",
            means="What was written so far stays in out/.",
            remedy="Run `hotdesk up --round` for another one; `hotdesk doctor` checks the server.",
        ) from error


def _held(
    client: SyncPrefectClient, show: Screen, look: Callable[[], None], only: tuple[str, ...]
) -> tuple[Round, list[str]]:
    def lost(outcome: Outcome) -> None:
        show.say(f"{outcome.agent} failed: {outcome.message}")

    fleet = agents(client, POOL)
    part = chosen(fleet, only)
    # Before the round: no scheduled run takes an agent's only place meanwhile, and who is moved to data of its own
    # meanwhile, and so switched on, stays on. A later round changes nobody's schedule: who is on then was switched on.
    samples = first_round.pause_samples(client, fleet) if first_round.is_due() else []
    began_at = datetime.now(UTC)
    show.say(f"first round: {len(part)} agents, capped")
    outcomes = first_round.run_round(client, part, first_round.Watch(look, lost))
    done = Round(tuple(outcomes), show.started_at, began_at, datetime.now(UTC), only)
    if not only:  # a part of the fleet is no first round
        first_round.mark_done(datetime.now(UTC))
    return done, first_round.resume_advice(samples)


def sum_up(where: Home, show: Screen, done: Round, advice: list[str]) -> int:
    """Draw the tables, say the sums, write the file; the exit status of the round."""
    outcomes = done.outcomes
    total = by_kind.tally(by_kind.EVERYTHING, outcomes)
    show.draw(summary.table(outcomes))
    show.draw(by_kind.kind_table(by_kind.by_kind(outcomes), total))
    first = summary.first_output(outcomes, show.started_at)
    sums = (summary.totals(outcomes), by_kind.in_one_line(total, done.seconds))
    for line in (first, *sums, summary.verdict(outcomes), *advice):
        if line:
            show.say(line)
    try:
        write_round(where, done)
    except OSError as error:
        show.say(f"logs/round.json could not be written: {error}")
    return summary.exit_code(outcomes)
