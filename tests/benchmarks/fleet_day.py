"""The fifty agents' day as data: who needs which kind of model when, and what the models cost.

`prefect.yaml` holds fewer than fifty agents so far, so the fleet is the design's table of twelve kinds and
fifty deployments. It is the fullest day: what runs weekly runs too. `days` draws from it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from governor.policy.eviction import Size

# A 7B on a 6 GB card writes 28 tokens/s and reads about ten times as fast.
WRITE_TOKENS_PER_SECOND, READ_TOKENS_PER_SECOND = 28.0, 280.0


@dataclass(frozen=True)
class Stage:
    """One seat of a run: the kind of model and the calls made at it."""

    role: str
    calls: int
    tokens_in: int
    tokens_out: int

    @property
    def seconds(self) -> float:
        """Expected time at the desk."""
        return self.calls * (self.tokens_in / READ_TOKENS_PER_SECOND + self.tokens_out / WRITE_TOKENS_PER_SECOND)


@dataclass(frozen=True)
class Agent:
    """A deployment: its stages in order and its minutes of the day.

    `chance`: how often a run needs its model at all; below one the schedule cannot foretell it and does not.
    """

    name: str
    stages: tuple[Stage, ...]
    minutes: tuple[int, ...]
    chance: float = 1.0


def _each(names: str, stages: Sequence[Stage], minutes: Sequence[Sequence[int]], chance: float = 1.0) -> list[Agent]:
    kind, _, agents = names.partition(": ")
    return [
        Agent(f"{kind}/{name}", tuple(stages), tuple(times), chance)
        for name, times in zip(agents.split(", "), minutes, strict=True)
    ]


def _once(first: int, step: int, count: int) -> list[list[int]]:
    return [[first + step * place] for place in range(count)]


def _every(hours: int, minute: int, first: int = 0, last: int = 23) -> list[int]:
    return [60 * hour + minute for hour in range(first, last + 1, hours)]


LABEL, FILTER = Stage("label", 12, 500, 60), Stage("label", 10, 400, 20)
FLEET: tuple[Agent, ...] = (
    *_each(
        "digest: news, tech, competitor, mentions, regulation",
        [FILTER, Stage("write", 10, 1200, 120)],
        _once(5 * 60 + 31, 5, 5),
    ),
    *_each(
        "triage: inbox, support, issues, leads, feedback",
        [LABEL],
        [_every(2, 7, 7, 19), _every(1, 19), _every(3, 34), _every(2, 12, 8, 18), _every(3, 52)],
    ),
    *_each(
        "extract: invoices, receipts, meeting actions, contract dates",
        [Stage("read", 6, 2000, 250)],
        _once(8 * 60 + 13, 9, 4),
    ),
    *_each(
        "draft: blog, social, newsletter, product copy, FAQ answers, replies",
        [Stage("write", 2, 1800, 700)],
        _once(5 * 60, 9, 6),
    ),
    *_each(
        "git_digest: changelog, standup, week in code",
        [Stage("code", 4, 2500, 350)],
        _once(6 * 60, 8, 3),
    ),
    *_each(
        "code_review: commits, security, test gaps",
        [Stage("code", 5, 3000, 400)],
        [[13 * 60 + 3 + 6 * place, 23 * 60 + 6 * place] for place in range(3)],
    ),
    *_each(
        "log_watch: app, web, journal",
        [Stage("read", 5, 2500, 200)],
        [_every(6, 47), _every(6, 53), _every(6, 41, 2)],
    ),
    *_each("log_watch: flaky tests", [Stage("code", 5, 2500, 200)], [_every(6, 35, 3)]),
    *_each(
        "check: backup, disk and certificates, uptime, dependencies, links, data quality, prices",
        [Stage("read", 1, 600, 120)],
        [*_once(4 * 60, 4, 6), [4 * 60 + 24, 16 * 60 + 24]],
        0.15,
    ),
    *_each("compare: docs drift", [Stage("code", 4, 3500, 300)], [[70]]),
    *_each("compare: terms", [Stage("write", 4, 3500, 300)], [[100]]),
    *_each("transform: translate, transcript summary", [Stage("translate", 3, 900, 900)], _once(130, 15, 2)),
    *_each("transform: alt text", [Stage("write", 3, 900, 300)], [[160]]),
    *_each("transform: SEO meta", [Stage("label", 6, 900, 100)], [[175]]),
    *_each(
        "index: notes, FAQ, glossary",
        [Stage("embed", 40, 300, 0)],
        [_every(6, 20, 4), [190], _every(6, 26, 4)],
    ),
    *_each(
        "brief: day plan, evening report, week",
        [Stage("write", 1, 3500, 450)],
        [[6 * 60 + 45], [21 * 60], [20 * 60 + 40]],
    ),
    *_each("brief: fleet report", [Stage("label", 3, 2000, 150)], [[20 * 60 + 50]]),
)

# Measured: a 7B at 4096 tokens takes 4.93 GiB and is ready 0.9 s after its start out of the page cache. The other
# sizes are those of usual quantised models; load times are scaled alike, and with a cold disk of 0.7 GiB/s.
GIB = 1024.0
START_SECONDS, WARM_GIB_PER_SECOND, COLD_GIB_PER_SECOND = 0.5, 12.0, 0.7
SIZES_MIB = {
    "writer 7b": 5048,
    "coder 7b": 5048,
    "reader 3b": 2450,
    "labeller 1.5b": 1400,
    "translator 4b": 3000,
    "embedder": 400,
}
# What a 6 GB card has left beside its idle 0.6 GiB: one 7B and something small; and two 7B.
BUDGETS_MIB = {"for one": 5530.0, "for two": 10240.0}
MODELS = (2, 3, 4, 5, 6)
# So that days of several seeds differ in who follows whom, as another operator's staggering would.
STAGGER_MINUTES = 15
# Which model does which kind of work where there are so many models.
BY_WORK: dict[int, dict[str, str]] = {
    6: {
        "write": "writer 7b",
        "code": "coder 7b",
        "translate": "translator 4b",
        "read": "reader 3b",
        "label": "labeller 1.5b",
        "embed": "embedder",
    }
}
BY_WORK[5] = BY_WORK[6] | {"translate": "writer 7b"}
BY_WORK[4] = BY_WORK[5] | {"embed": "labeller 1.5b"}
BY_WORK[3] = BY_WORK[4] | {"label": "reader 3b", "embed": "reader 3b"}
BY_WORK[2] = BY_WORK[3] | {"code": "writer 7b"}


def sizes(disk: str) -> dict[str, Size]:
    """Memory and load time of every model, `warm` out of the page cache or from a `cold` disk."""
    speed = COLD_GIB_PER_SECOND if disk == "cold" else WARM_GIB_PER_SECOND
    return {
        name: Size(mib=mib, load_seconds=round(START_SECONDS + mib / GIB / speed, 2)) for name, mib in SIZES_MIB.items()
    }


def fleet(spread: str, models: int, seed: int) -> list[Agent]:
    """The fleet with a model in the place of every role, and each agent's times moved by up to so many minutes.

    `by work`: one model for each kind of work, so that most uses are of one or two models. `by lot`: every
    stage of every agent draws its model, anew for each seed.
    """
    rng, names = random.Random(f"{spread} {models} {seed}"), list(SIZES_MIB)[:models]

    def model(stage: Stage) -> str:
        return rng.choice(names) if spread == "by lot" else BY_WORK[models][stage.role]

    def moved(minutes: Sequence[int]) -> tuple[int, ...]:
        by = rng.randint(-STAGGER_MINUTES, STAGGER_MINUTES)
        return tuple(max(0, minute + by) for minute in minutes)

    return [
        replace(agent, stages=tuple(replace(s, role=model(s)) for s in agent.stages), minutes=moved(agent.minutes))
        for agent in FLEET
    ]
