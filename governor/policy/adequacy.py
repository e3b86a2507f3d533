"""How large a model a kind of work wants, before anything is known about it. Pure.

It orders what nothing is known about. What models really do here is learned (`policy.gains`): it decides among those
that are enough, and one that mostly fails is not. A rule sees the form of prose and not its quality, so passing many
checks makes no small model large.
"""

from governor.policy.facts import Kind, ModelSpec
from governor.policy.requests import CloudModel, ModelRequest, Quality

# Work whose answer is constrained while decoding: a small model is enough.
CONSTRAINED = frozenset({Kind.CLASSIFY, Kind.EXTRACT})
# Billions of parameters from which a model is enough for a kind. A choice among labels is one token; copying fields
# takes reading; prose of a few sentences reads well from 3B instruction models on, longer prose, code and translation
# from 7B on (the sizes that model cards and leaderboards name for these uses; the gain table corrects them).
ENOUGH_BILLION = {
    Kind.CLASSIFY: 0.1,
    Kind.EXTRACT: 0.1,
    Kind.SUMMARISE: 3.0,
    Kind.WRITE: 7.0,
    Kind.TRANSLATE: 7.0,
    Kind.CODE: 7.0,
    Kind.COMPARE: 7.0,
    Kind.EMBED: 0.0,
}
# Who wishes for good quality wants more: of constrained work what a short summary takes, of any other a size above.
GOOD_CONSTRAINED_BILLION = 3.0
GOOD_BILLION = 14.0
# The demo model in the heavy tier's place plays the part of a real one there, so that every part is seen at work.
PLAYS_BILLION = 7.0


def enough_billion(request: ModelRequest) -> float:
    """From which size on a model is enough for this request."""
    if request.quality is Quality.QUICK:
        return 0.0
    if request.quality is Quality.GOOD:
        return GOOD_CONSTRAINED_BILLION if request.kind in CONSTRAINED else GOOD_BILLION
    return ENOUGH_BILLION[request.kind]


def size_billion(spec: ModelSpec | None, cloud: CloudModel | None = None) -> float:
    """How large a model is, or the one whose place it takes."""
    if spec is not None:
        return PLAYS_BILLION if spec.demo and spec.line == "gpu" else spec.parameters_billion
    return cloud.parameters_billion if cloud is not None else 0.0


def does(kinds: frozenset[Kind], kind: Kind) -> bool:
    """Whether a model that is made for `kinds` (none: any) does this kind: vectors come from embedding models only."""
    return kind in kinds if kinds else kind is not Kind.EMBED


def is_made_for(spec: ModelSpec | None, kind: Kind) -> bool:
    """Whether the model is a specialist in this kind."""
    return spec is not None and kind in spec.kinds
