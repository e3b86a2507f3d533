"""Whether addresses answer, how often and how fast. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from blocks.checking.findings import Finding, fail, figure, fine, named, warn
from blocks.checking.settings import CheckSettings
from governor.policy.facts import Fact

SPAN = timedelta(hours=24)
SLOW_SHARE = 0.95
# Answers from which a share says something: one failure of three is no 66 %.
LEAST_ANSWERS = 10


class Probed(Fact):
    """One look at an address. `status` 0: no answer, for the reason in `problem`; None for `seconds`: unknown."""

    address: str
    at: datetime
    status: int
    seconds: float | None = None
    problem: str = ""

    @property
    def good(self) -> bool:
        """Whether it answered as it should."""
        return 200 <= self.status < 400


class Uptime(Fact):
    """All looks.

    Attributes:
        logged: they come from a log, whose newest line may be old. unreadable: lines that are none.
        left_out: addresses that were not looked at, because there are too many.
    """

    probes: tuple[Probed, ...]
    logged: bool = False
    unreadable: int = 0
    left_out: tuple[str, ...] = ()


def judge(facts: Uptime, settings: CheckSettings, now: datetime) -> list[Finding]:
    """One finding an address; of a log those 24 hours count that end with its newest line."""
    last = max((probe.at for probe in facts.probes), default=now)
    by_address: dict[str, list[Probed]] = defaultdict(list)
    for probe in sorted(facts.probes, key=lambda probe: probe.at):
        by_address[probe.address].append(probe)
    found = [_of_address(address, probes, last, settings) for address, probes in sorted(by_address.items())]
    if facts.unreadable:
        found.append(warn("the log", f"{facts.unreadable} lines of the log cannot be read.", value=facts.unreadable))
    found += [warn(named(one), f"{named(one)} was not looked at: there are too many.") for one in facts.left_out]
    hours = (now - last).total_seconds() / 3600
    if facts.logged and hours > settings.log_hours:
        age = f"{figure(round(hours, 1))} hours" if hours < 72 else f"{figure(round(hours / 24, 1))} days"
        what = f"The newest line of the log is {age} old; nothing is known of the addresses since."
        found.append(fail("the log", what, value=age, limit=f"{figure(settings.log_hours)} hours"))
    return found


def _of_address(address: str, probes: list[Probed], last: datetime, settings: CheckSettings) -> Finding:
    subject, latest = named(address), probes[-1]
    if latest.at < last - SPAN:
        return warn(subject, f"{subject} was not looked at in 24 hours.", value=f"{latest.at:%Y-%m-%d %H:%M}")
    day = [probe for probe in probes if probe.at > last - SPAN]
    if not latest.good:
        return fail(subject, f"{subject} is down{_since(probes)}: {_why(latest)}.", value=_why(latest))
    share = 100 * sum(probe.good for probe in day) / len(day)
    value, limit = f"{figure(round(share, 1))} %", f"{figure(settings.up_percent)} %"
    if len(day) >= LEAST_ANSWERS and share < settings.up_percent:
        what = f"{subject} is up, but was down in {100 - round(share, 1):.1f} % of {len(day)} looks in 24 hours."
        return fail(subject, what, value=value, limit=limit)
    seconds = _slow([probe.seconds for probe in day if probe.good and probe.seconds is not None])
    if seconds > settings.slow_seconds:
        what = f"{subject} is up, but slow: {figure(round(seconds, 1))} s for the slowest answers."
        return warn(subject, what, value=f"{seconds:.1f} s", limit=f"{figure(settings.slow_seconds)} s")
    return fine(subject, f"{subject} is up.", value=value, limit=limit)


def _since(probes: Sequence[Probed]) -> str:
    """How long it has been down, where that is more than one look."""
    down = next((number for number, probe in enumerate(reversed(probes)) if probe.good), len(probes))
    return f" since {probes[-down].at:%Y-%m-%d %H:%M} UTC" if down > 1 else ""


def _why(probe: Probed) -> str:
    return f"it answers with status {probe.status}" if probe.status else named(probe.problem or "it does not answer")


def _slow(seconds: Iterable[float]) -> float:
    by_length = sorted(seconds)
    return by_length[int(SLOW_SHARE * (len(by_length) - 1))] if by_length else 0.0
