"""Why a tier cannot serve a request at all, in words; None when it can. Pure.

How soon it could, and which of those that can comes first, is `policy.routing`.
"""

import math
from datetime import datetime

from governor.policy import allowance
from governor.policy.adequacy import does
from governor.policy.facts import Fact, Kind, ModelSpec, Profile
from governor.policy.requests import CloudModel, ModelRequest, Privacy


class RoutingRules(Fact):
    """What an operator decided.

    Attributes:
        ceiling_usd: most that paid models may cost in a day; 0: none is ever called.
        cloud_price_seconds: how long agents rather wait here than use a free call up, while the allowance is whole.
        desk_price_seconds: how long work that any model could do rather waits elsewhere than take the heavy one's desk.
        explores: whether a model that would not come first is tried now and then, to learn.
    """

    allow_gpu: bool = True
    allow_cpu: bool = True
    allow_cloud: bool = True
    ceiling_usd: float = 0.0
    cloud_price_seconds: float = 300.0
    desk_price_seconds: float = 30.0
    explores: bool = True

    def allows(self, line: str) -> bool:
        """Whether agents may stand in this line."""
        return {"gpu": self.allow_gpu, "cpu": self.allow_cpu}.get(line, True)


class CloudFact(Fact):
    """A cloud tier with a key, and what of it is left now.

    Attributes:
        left: for each of its allowances. closed_until: nobody calls it before, because `closed_why`.
        spent_usd: what paid calls, of any tier, cost today.
    """

    model: CloudModel
    left: tuple[allowance.Left, ...] = ()
    closed_until: datetime | None = None
    closed_why: str = ""
    spent_usd: float = 0.0


def at_home(spec: ModelSpec, profile: Profile, rules: RoutingRules, kind: Kind, needed_tokens: int) -> str | None:
    """Why this model of the machine cannot serve at any time."""
    if not does(spec.kinds, kind):
        return _not_its_work(spec.kinds, kind)
    if not rules.allows(spec.line):
        return f"the operator keeps agents off the {spec.line} line"
    if spec.expected_mib > profile.memory_budget_mib:
        return (
            f"too big for this machine: takes about {spec.expected_mib:.0f} MiB,"
            f" models may take {profile.memory_budget_mib:.0f}"
        )
    if needed_tokens > spec.context_tokens:
        return f"context too small: needs about {needed_tokens} tokens, it has {spec.context_tokens}"
    return None


class Refused(Fact):
    """Why a tier of the cloud is not called; `until`: when that may be over, None: not by itself."""

    why: str
    until: datetime | None = None


def in_the_cloud(
    cloud: CloudFact, request: ModelRequest, rules: RoutingRules, needed_tokens: int, now: datetime
) -> Refused | None:
    """Why this tier of the cloud cannot serve now. Privacy comes first: nothing else is weighed then."""
    never = _never(cloud, request, rules, needed_tokens)
    if never is not None:
        return Refused(why=never)
    if cloud.closed_until is not None and cloud.closed_until > now:
        until = cloud.closed_until
        return Refused(why=f"cooling down until {allowance.clock(until, now)}: {cloud.closed_why}", until=until)
    spent = allowance.shut(cloud.left, tokens=needed_tokens, due=request.due_at is not None, now=now)
    return spent and Refused(why=spent.why, until=spent.until)


def _never(cloud: CloudFact, request: ModelRequest, rules: RoutingRules, needed_tokens: int) -> str | None:
    """What no waiting changes."""
    model = cloud.model
    if not model.may_see(request.allowed):
        return private(request, model)
    if not rules.allow_cloud:
        return "the operator keeps agents off the cloud"
    if not does(model.kinds, request.kind):
        return _not_its_work(model.kinds, request.kind)
    if needed_tokens > model.context_tokens:
        return f"context too small: needs about {needed_tokens} tokens, it has {model.context_tokens}"
    if request.max_tokens > model.most_output_tokens:
        return f"its answers end at {model.most_output_tokens} tokens, {request.max_tokens} may be needed"
    usd = model.usd(needed_tokens - request.max_tokens, request.max_tokens)
    return too_dear(model, usd, spent_usd=cloud.spent_usd, ceiling_usd=rules.ceiling_usd)


def private(request: ModelRequest, model: CloudModel | None = None) -> str:
    """That the words may not go there."""
    if request.allowed is Privacy.LOCAL_ONLY or model is None:
        return "private: these words stay on this machine"
    trains = "trains on prompts" if model.trains == "yes" else "does not say that it does not train on prompts"
    return f"private: it {trains}"


def _not_its_work(kinds: frozenset[Kind], kind: Kind) -> str:
    if kind is Kind.EMBED:
        return "makes no vectors"
    return f"is for {' and '.join(sorted(kinds))} only"


def too_dear(model: CloudModel, usd: float | None, *, spent_usd: float, ceiling_usd: float) -> str | None:
    """The zero-cost gate: what is not free is called only under a ceiling that holds it; why not, None when it may be.

    Args:
        usd: the most that the call may cost. A price that is no number, or below zero, is as unknown as None.
        spent_usd: what paid calls, of any tier, cost today. ceiling_usd: what they may cost in a day.
    """
    if model.free:
        return None
    if usd is None or not math.isfinite(usd) or usd < 0:
        return "its price is unknown, and what is unknown is not free"
    if usd == 0 or spent_usd + usd <= ceiling_usd:  # a ceiling that is no number holds nothing
        return None
    if not ceiling_usd:
        return "costs money, and the operator allows none"
    return f"would cost up to ${usd:.4f}; ${spent_usd:.2f} of ${ceiling_usd:.2f} a day are spent"
