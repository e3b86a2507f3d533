"""`hotdesk up`: prepare, start what is missing, run the first round, show it live, stop it again.

The order of the steps and what ends them; each step itself is a module of its own.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from deployments.down import stop_everything
from deployments.environment import apply_client_environment
from deployments.own_log import log_to_file
from deployments.screen import LOOK_EVERY_SECONDS, Screen, screen
from deployments.services import alive_services, services
from deployments.up_lock import holder, up_lock
from governor.errors import NotReady
from governor.settings import Home, prepare_home

INTERRUPTED = 130  # the shell's convention: 128 + SIGINT
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Plan:
    """What the command line asked of `up`. `only`: kinds and names of agents that a round is for, () for all."""

    once: bool = False
    again: bool = False
    tour: bool = True
    port: int | None = None
    profile: str | None = None
    only: tuple[str, ...] = ()


class Stopped(BaseException):
    """Ctrl-C, SIGTERM or SIGHUP. Not an Exception: nothing may swallow it."""


def run_up(plan: Plan) -> int:
    """Run until stopped (or, with `once`, to the end of the first round); the exit status."""
    if plan.profile:
        os.environ["HOTDESK_PROFILE"] = plan.profile
    where = prepare_home()
    check_only(plan.only)
    show = screen()
    with up_lock(where):
        log_to_file(where, "up")
        try:
            with stop_signals():
                return _run(plan, where, show)
        except Stopped:
            return INTERRUPTED if plan.once else 0
        finally:
            _stop(where, show)


def check_only(only: tuple[str, ...]) -> None:
    """Look the names up in `prefect.yaml`, before anything is started.

    Raises:
        BadInput: there is no such agent, or the file cannot be read.
    """
    if not only:
        return
    from uuid import uuid4

    from deployments.agents import agents_of
    from deployments.fleet import read_fleet
    from deployments.round_agents import Agent, chosen

    chosen([Agent(name, uuid4(), sample=False) for name in agents_of(read_fleet())], only)


def _run(plan: Plan, where: Home, show: Screen) -> int:
    from deployments.ground import prepare_ground

    ground = prepare_ground(where, show, port=plan.port, with_worker=True)
    from deployments.guarding import guarding

    with guarding(where):
        return _work(
            plan, where, show, ground.services, f"UI: {ground.server.ui_url}   outputs: {where.out}   Ctrl-C stops"
        )


def _work(plan: Plan, where: Home, show: Screen, names: frozenset[str], footer: str) -> int:
    """The first round where it is due, then the live view."""
    from deployments import first_round
    from deployments.held_round import hold_round, sum_up
    from deployments.tour import restore_budget

    restore_budget()  # a tour that was killed may have left its small one

    def look() -> None:
        show.show()
        check_services(where, names)

    code = 0
    if plan.once or plan.again or plan.only or first_round.is_due():
        with show.live(footer):
            done, advice = hold_round(show, look, plan.only)
        code = sum_up(where, show, done, advice)
        if plan.tour and not plan.only:
            from deployments.tour import run_tour

            run_tour(show)
    if plan.once:
        return code
    with show.live(footer):
        while True:  # until a signal raises Stopped
            show.show()
            time.sleep(LOOK_EVERY_SECONDS)


def check_services(where: Home, names: frozenset[str]) -> None:
    """Raise NotReady when one of the services in `names` died: waiting on would be in vain."""
    dead = names - {row.name for row in alive_services(where)}
    if dead:
        name = min(dead)
        raise NotReady(
            f"The service {name} ended unexpectedly.",
            means="What was written so far stays in out/.",
            remedy=f"Its log is {where.logs / name}.log; `hotdesk up` starts it again.",
        )


def _stop(where: Home, show: Screen, keep: frozenset[str] = frozenset()) -> None:
    """Stop all but `keep`, whatever signals still come; every step inside has its own deadline."""
    for sign in STOP_SIGNALS:
        signal.signal(sign, signal.SIG_IGN)
    left = stop_everything(where, show.say, [row.name for row in services(where) if row.name not in keep])
    show.say("stopped" if not left else f"could not stop: {', '.join(left)}")


@contextmanager
def stop_signals() -> Iterator[None]:
    """Turn the stop signals into `Stopped` while the block runs."""

    def stop(_sign: int, _frame: FrameType | None) -> None:
        raise Stopped

    before = {sign: signal.signal(sign, stop) for sign in STOP_SIGNALS}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def run_tour_alone(port: int | None) -> int:
    """`hotdesk tour`: beside a running `hotdesk up`, else with a server of its own; 1 if an act was not shown."""
    where = prepare_home()
    show = screen()
    log_to_file(where, "tour")
    if holder(where) is not None:
        apply_client_environment(where)
        return _tour(show)
    with up_lock(where):
        before = frozenset(row.name for row in alive_services(where))
        try:
            with stop_signals():
                from deployments.ground import prepare_ground

                prepare_ground(where, show, port=port)
                return _tour(show)
        except Stopped:
            return INTERRUPTED
        finally:
            _stop(where, show, keep=before)


def _tour(show: Screen) -> int:
    from deployments.tour import run_tour

    return 0 if all(act.shown for act in run_tour(show)) else 1


def run_bootstrap(port: int | None) -> None:
    """`hotdesk bootstrap`: set up the server in use, which somebody else may have started.

    Raises:
        BadInput: the server refuses a deployment; all others stand then.
    """
    from deployments.versions import refuse_wrong_versions

    refuse_wrong_versions()
    where = prepare_home()
    show = screen()
    apply_client_environment(where, port)
    from deployments.ground import find_profile, read_written, set_up

    profile = find_profile(show)
    if refused := set_up(profile, show, read_written(where)):
        raise refused[0]
