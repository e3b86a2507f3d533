"""What must stand before anybody works: weights, profile, server, bootstrap; then the worker.

Each step says itself on the screen with the seconds since the start, also when it took none. While the server starts,
this process gets ready for what comes after it, on the other core.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployments.environment import apply_client_environment
from deployments.screen import Screen
from deployments.server import ServerFacts, ensure_server
from deployments.versions import refuse_wrong_versions
from governor.errors import BadInput
from governor.policy.admitting import FORKING_PLATFORM
from governor.policy.facts import Profile
from governor.profile import current_profile
from governor.settings import Home
from governor.state.models import Service
from governor.state.sessions import remember

if TYPE_CHECKING:
    from deployments.bootstrap import Written

PROFILE_KEY = "profile"


@dataclass(frozen=True)
class Ground:
    """A server that is set up, and the profile it was set up for.

    `services`: the names of those that must live for the fleet to work.
    """

    server: ServerFacts
    profile: Profile
    services: frozenset[str] = frozenset()


def prepare_ground(where: Home, show: Screen, *, port: int | None = None, with_worker: bool = False) -> Ground:
    """Fetch, detect, start, set up; each only where it is missing. With the worker, as soon as it has what it needs.

    Raises:
        NotReady, BadInput: from the step that could not be done.
    """
    refuse_wrong_versions()
    show.say(f"state folder {where.root}")
    fetch(where, show)
    profile = find_profile(show)
    apply_client_environment(where, port)
    with ThreadPoolExecutor(1) as beside:
        # The server is what takes longest: 3 s, with its tables to make 9 s. What this does takes 1.5 s.
        written = beside.submit(read_written, where)
        server = ensure_server(where, port, say=show.say)
    whose = "ours" if server.ours else "not ours: it stays as it is"
    show.say(f"Prefect server {server.version} at {server.ui_url} ({whose})")
    workers: list[Service] = []

    def work() -> None:
        close_runs(show)  # before a worker could start one of them again
        if with_worker:
            from deployments.worker import start_workers

            workers.extend(start_workers(where, profile, port))

    set_up(profile, show, written.result(), then=work)
    say_started(show, workers)
    return Ground(server, profile, frozenset(row.name for row in workers))


def read_written(where: Home) -> "Written":
    """All of a bootstrap that needs no server: samples made, `prefect.yaml` read, flows imported.

    Raises:
        BadInput: `prefect.yaml`, a parameter in it or a flow file is wrong.
    """
    from deployments.bootstrap import read_written as read  # imports Prefect, which reads the environment
    from deployments.samples import prepare_samples

    prepare_samples(where)
    return read()


def set_up(
    profile: Profile, show: Screen, written: "Written", *, then: Callable[[], object] | None = None
) -> list[BadInput]:
    """Bootstrap the server; what was created is counted, what had to be put right is named.

    `then` is called as soon as a worker may start. Of the deployments that the server refuses, its reasons: they are
    said, and all else stands.
    """
    from deployments.bootstrap import bootstrap

    done = bootstrap(profile, written, say=show.say, then=then)
    for change in done.changed:
        if "was created" not in change:
            show.say(change)
    created = sum("was created" in change for change in done.changed)
    counts = ", ".join(f"{count} {name}" for name, count in done.counts.items())
    show.say(f"server set up: {counts}; {created or 'nothing'} new, {len(done.paused)} deployments paused")
    for error in done.refused:
        show.say(f"{error.happened} {error.remedy}")
    return done.refused


def close_runs(show: Screen) -> None:
    """Close what an earlier `hotdesk up` left behind when it was killed."""
    from prefect.client.orchestration import get_client

    from deployments.leftovers import close_leftovers

    with get_client(sync_client=True) as client:
        closed = close_leftovers(client, workers_stopped=False)
    if closed:
        show.say(f"{closed} flow runs that were cut off last time are closed")


def fetch(where: Home, show: Screen) -> None:
    """Fetch the weights unless they are there and sound."""
    from deployments.weights import fetch_weights

    file = fetch_weights(where, show.say)
    show.say(f"weights {file.name} ready")


def say_started(show: Screen, workers: Sequence[Service]) -> None:
    """Name the processes that must live for the fleet to work; it comes after the lines of the bootstrap."""
    for row in workers:
        show.say(f"{row.name} (pid {row.pid})")
    if workers and sys.platform != FORKING_PLATFORM:
        show.say("runs start as processes of their own here, because fork is unsafe")


def find_profile(show: Screen) -> Profile:
    """Detect what this machine carries, remember it for `status`, and say which models that means.

    A model that Ollama has with other weights than it should have is not among them.
    """
    from deployments.model import distrust

    profile = current_profile()
    if wrong := distrust(profile):
        for said in wrong:
            show.say(said)
        current_profile.cache_clear()
        profile = current_profile()
    remember(PROFILE_KEY, profile.name)
    tiers = ", ".join(f"{tier}: {spec.model} ({spec.engine})" for tier, spec in profile.tiers.items())
    show.say(f"profile {profile.name}; {tiers}")
    if profile.power == "battery":
        runs = "one run" if profile.worker_limit == 1 else f"{profile.worker_limit} runs"
        show.say(f"on battery: {runs} at a time until the next `hotdesk up`; HOTDESK_POWER=mains does as on mains")
    if any(spec.demo for spec in profile.tiers.values()):
        show.say("demo model, 135M: it shows how everything works; its prose is not to be trusted")
    for advice in profile.advice:
        show.say(advice)
    return profile
