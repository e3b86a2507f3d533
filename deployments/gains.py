"""`hotdesk gains`: which model was right how often, in whose work; and how to forget it.

What follows from it is `governor.policy.gains`; it is counted by `governor.learning`.
"""

import json
from collections.abc import Iterator, Sequence

from sqlalchemy import select

from governor import learning
from governor.errors import BadInput
from governor.policy.facts import Kind
from governor.policy.learner import is_proven
from governor.settings import prepare_home
from governor.state.sessions import reading
from governor.state.tiers import Gain, Learned

NONE = "No answer was judged yet: only answers that a rule can check are counted."


def run_gains(*, kind: str | None, model: str | None, forget: bool, as_json: bool) -> str:
    """Show what was counted, or forget it.

    Raises:
        BadInput: there is no such kind; nothing was forgotten.
    """
    kinds = [known.value for known in Kind]
    if kind is not None and kind not in kinds:
        raise BadInput(f"There is no kind {kind!r}.", remedy=f"Kinds are: {', '.join(kinds)}.")
    prepare_home()
    if forget:
        forgotten = learning.reset(kind, model)
        what = " and ".join(name for name in (kind, model) if name) or "everything"
        return f"forgot {what}: {forgotten} rows; models of it are taken by their size until they are seen again"
    rows, read = _counted(kind, model), _read(kind, model)
    if as_json:
        return json.dumps({"counted": [_plain(row) for row in rows], "read": read}, indent=2)
    return "\n".join(_lines(rows, read))


def _counted(kind: str | None, model: str | None) -> Sequence[Gain]:
    wanted = select(Gain).order_by(Gain.kind, Gain.agent, Gain.model)
    wanted = wanted if kind is None else wanted.where(Gain.kind == kind)
    wanted = wanted if model is None else wanted.where(Gain.model == model)
    with reading() as session:
        return session.scalars(wanted).all()


def _read(kind: str | None, model: str | None) -> list[dict[str, object]]:
    """Where prompts are read: how many it learned from, and whether that is used."""
    wanted = select(Learned.kind, Learned.model, Learned.examples, Learned.loss, Learned.base_loss)
    with reading() as session:
        rows = session.execute(wanted.order_by(Learned.kind, Learned.model)).all()
    return [
        {
            "kind": row.kind,
            "model": row.model,
            "examples": row.examples,
            "used": is_proven(row.examples, row.loss, row.base_loss),
        }
        for row in rows
        if kind in (None, row.kind) and model in (None, row.model)
    ]


def _plain(row: Gain) -> dict[str, object]:
    counts = {"kind": row.kind, "agent": row.agent, "model": row.model, "tried": row.tried, "verified": row.verified}
    return {**counts, "updated_at": row.updated_at.isoformat()}


def _lines(rows: Sequence[Gain], read: list[dict[str, object]]) -> Iterator[str]:
    if not rows:
        yield NONE
    else:
        yield f"{'kind':<10} {'agent':<26} {'model':<24} {'passed':>8} {'of':>6}"
    for row in rows:
        yield f"{row.kind:<10} {row.agent:<26} {row.model:<24} {row.verified:>8} {row.tried:>6}"
    for one in read:
        use = "and counts" if one["used"] else "not proven better than counting yet"
        yield f"prompts of {one['kind']} for {one['model']}: learned from {one['examples']}, {use}"
