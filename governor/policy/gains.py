"""How likely a model's answer passes its checks, from what was seen of it, and who is tried first to learn more. Pure.

The tallies are kept by `governor.learning`; what a prompt itself says is read by `policy.learner`.
"""

import math
from collections.abc import Sequence

from pydantic import Field

from governor.policy.facts import Fact, Kind

# A prior is worth so many outcomes of the kind, and the kind's rate so many of one agent. On 7,032 exam questions of
# 57 subjects, with the subject in the agent's place, 10 to 80 made no difference to the routing and 20 to 40 the
# smallest loss; a fleet has fewer outcomes a day than that, so the lower end.
PRIOR_TRIES = 10
KIND_TRIES = 20
# Before anything is known: log odds by the logarithm of the size, a line through the MMLU scores of one family of
# seven sizes (Qwen2.5 base: 0.5B 47.5, 1.5B 60.9, 3B 65.6, 7B 74.2, 14B 79.7, 32B 83.3, 72B 86.1), off by 3.1 at most.
ODDS_AT_ONE_BILLION, ODDS_PER_LOG_BILLION = 0.28, 0.37
# An answer that is constrained while decoding cannot fail by its form, which is most of what a rule can see.
CONSTRAINED_ODDS = 1.0
# By kind, a judgement: what is checked of prose is form and length, code and vectors either work or do not.
KIND_ODDS = {Kind.SUMMARISE: 0.3, Kind.WRITE: 0.3, Kind.CODE: -0.3, Kind.COMPARE: -0.2, Kind.EMBED: 2.0}
# No prior is so sure that a few dozen outcomes could not overrule it.
LEAST_CHANCE, MOST_CHANCE = 0.05, 0.95
# Where the size of a model is not known: what a 7B model does.
NEUTRAL = 0.73
# One request in fifty goes to each candidate first, whatever is known: a model that improved would never show it
# otherwise, and at 2% a model that fails every time costs one second call in fifty requests.
EXPLORE = 0.02
# On top of it for a candidate nobody knows; half of it after so many outcomes.
EXPLORE_UNKNOWN = 0.08
HALF_KNOWN_TRIES = 10
# Most that all candidates together may take away from the order; a floor of 2% is kept for up to 15 of them.
MOST_EXPLORED = 0.3


class Tally(Fact):
    """Answers that could be checked, and how many of them passed."""

    tried: int = 0
    verified: int = 0


UNSEEN = Tally()


class Gains(Fact):
    """What is known of models for one request, each by name.

    Attributes:
        of_kind: answers to this kind of work, whoever asked. of_agent: those to this agent alone; part of the former.
        predicted: the chance read from this very prompt, where reading it has proven better than counting.
    """

    of_kind: dict[str, Tally] = Field(default_factory=dict)
    of_agent: dict[str, Tally] = Field(default_factory=dict)
    predicted: dict[str, float] = Field(default_factory=dict)


def prior(kind: Kind, parameters_billion: float, *, constrained: bool) -> float:
    """Chance that an answer of a model of this size passes, before any was seen."""
    odds = ODDS_AT_ONE_BILLION + ODDS_PER_LOG_BILLION * math.log(max(parameters_billion, 0.01))
    odds += KIND_ODDS.get(kind, 0.0) + (CONSTRAINED_ODDS if constrained else 0.0)
    return min(MOST_CHANCE, max(LEAST_CHANCE, 1 / (1 + math.exp(-odds))))


def chance(gains: Gains, model: str, prior: float) -> float:
    """Chance that an answer of this model passes: read from the prompt where that is proven, else `counted`."""
    read = gains.predicted.get(model)
    return counted(gains, model, prior) if read is None else read


def counted(gains: Gains, model: str, prior: float) -> float:
    """The rate among this agent's answers, drawn to that of the kind, which is drawn to the prior. In (0, 1)."""
    kind, agent = gains.of_kind.get(model, UNSEEN), gains.of_agent.get(model, UNSEEN)
    of_kind = _drawn(kind, PRIOR_TRIES, min(MOST_CHANCE, max(LEAST_CHANCE, prior)))
    return _drawn(agent, KIND_TRIES, of_kind)


def _drawn(tally: Tally, worth: int, towards: float) -> float:
    return (tally.verified + worth * towards) / (tally.tried + worth)


def to_explore(candidates: Sequence[str], gains: Gains, draw: float) -> str | None:
    """The candidate to try first this time whatever is known, None most of the time.

    Args:
        candidates: by name, in any order.
        gains: what is known of them; the fewer outcomes of this kind, the larger a candidate's share.
        draw: a number in [0, 1), evenly drawn; every request has its own.
    """
    reached = 0.0
    for model, share in zip(candidates, explored_shares(candidates, gains), strict=True):
        reached += share
        if draw < reached:
            return model
    return None


def explored_shares(candidates: Sequence[str], gains: Gains) -> list[float]:
    """How often each is tried first to learn about it: 2% at least, 10% of what nobody knows, 30% of all at most."""
    if not candidates:
        return []
    floor = min(EXPLORE, MOST_EXPLORED / len(candidates))
    more = [_unknown(gains.of_kind.get(model, UNSEEN)) for model in candidates]
    room = MOST_EXPLORED - floor * len(candidates)
    scale = min(1.0, room / sum(more))
    return [floor + scale * extra for extra in more]


def _unknown(tally: Tally) -> float:
    return EXPLORE_UNKNOWN * HALF_KNOWN_TRIES / (HALF_KNOWN_TRIES + tally.tried)
