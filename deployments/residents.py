"""`hotdesk residents`: what is in memory, what it takes and why it stays, and an operator's word about a model.

Reads and writes the state folder only; needs no server. Evicting here is what the flow `evict` does.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import select

from governor.admission import memory_budget_mib
from governor.errors import BadInput
from governor.evicting import evict_idle, used_percent
from governor.forecasting import next_uses, trust_in_words
from governor.memory import MEMORIES
from governor.policy.facts import Held
from governor.policy.rules import Rules
from governor.profile import current_profile
from governor.resident_rows import IN_MEMORY, held
from governor.settings import prepare_home
from governor.state.residents import Keeping, LearnedFootprint, Resident
from governor.state.sessions import reading, transaction
from governor.unloading import unload_idle

USUAL = "usual"
ALL = "all"


@dataclass(frozen=True)
class Wishes:
    """What was asked for; None: nothing of the kind. `keep` is MODEL=SECONDS, or MODEL=usual."""

    pin: str | None = None
    unpin: str | None = None
    keep: str | None = None
    evict: str | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class InMemory:
    """One resident as it is shown. Times in seconds from now, None where nothing is foretold."""

    model: str
    engine: str
    memory: str
    context_tokens: int
    cache_type: str
    memory_mib: float
    state: str
    idle_seconds: float
    next_use_seconds: float | None
    keep_alive_seconds: float
    pinned: bool


def run_residents(wishes: Wishes, *, as_json: bool = False, rules: Rules | None = None) -> str:
    """Do what was asked for, then say what is in memory.

    Raises:
        BadInput: no such model, none of that name in memory, or a keep-alive that is no number; nothing was changed.
    """
    prepare_home()
    now = datetime.now(UTC)
    keepings, leaving = list(_keepings(wishes)), _leaving(wishes.evict)
    _check_names(keepings)
    for one in keepings:
        _keep(one)
    done = [*(one.done for one in keepings), *_evictions(wishes, leaving, now, rules)]
    shown = _in_memory(now)
    if as_json:
        used = {name: used_percent(name) for name in MEMORIES}
        return json.dumps({"done": done, "used_percent": used, "residents": [asdict(r) for r in shown]})
    return "\n".join([*done, *_memories(now, rules), *(_said(r) for r in shown)])


@dataclass(frozen=True)
class Word:
    """One thing said about a model: the column of its `Keeping` and the value, and how that reads once it is done.

    `takes_back` marks what can only undo: it may name a model that is not known any more.
    """

    model: str
    column: str
    value: bool | float | None
    done: str
    takes_back: bool = False


def _keepings(wishes: Wishes) -> Iterator[Word]:
    if (model := wishes.pin) is not None:
        done = f"{model} is pinned: nobody evicts it, and what does not fit beside it takes another route"
        yield Word(model, "pinned", True, done)
    if (model := wishes.unpin) is not None:
        yield Word(model, "pinned", False, f"{model} is not pinned any more", takes_back=True)
    if wishes.keep is not None:
        model, _, value = wishes.keep.rpartition("=")
        seconds, usual = _seconds(model, value), value == USUAL
        done = f"{model} may stay idle for {'as long as usual' if usual else f'{value} s'}"
        yield Word(model, "keep_alive_seconds", seconds, done, takes_back=usual)


def _check_names(words: Sequence[Word]) -> None:
    """Refuse a name that no model here has: it would be kept, and mean nothing to anybody.

    Raises:
        BadInput: with the names that are known.
    """
    if not words:
        return
    with reading() as session:
        inside = session.scalars(select(Resident.model).where(Resident.state.in_(IN_MEMORY)))
        learned = session.scalars(select(LearnedFootprint.model))
        known = {*inside, *learned, *(spec.model for spec in current_profile().tiers.values())}
        said_before = set(session.scalars(select(Keeping.model)))
    for word in words:
        if word.model not in (known | said_before if word.takes_back else known):
            raise BadInput(
                f"No model here has the name {word.model!r}.",
                means="Nothing was changed.",
                remedy=f"Use one of: {', '.join(sorted(known))}.",
            )


def _seconds(model: str, value: str) -> float | None:
    try:
        seconds = None if value == USUAL else float(value)
    except ValueError:
        seconds = -1.0
    if not model or (seconds is not None and not 0 <= seconds < float("inf")):
        raise BadInput(
            f"A keep-alive is MODEL=SECONDS, such as qwen2.5:7b=1800, or MODEL={USUAL}.",
            means="Nothing was changed.",
            remedy="`hotdesk residents` shows the models in memory and their keep-alive.",
        )
    return seconds


def _keep(word: Word) -> None:
    with transaction() as session:
        row = session.get(Keeping, word.model) or Keeping(model=word.model, pinned=False)
        setattr(row, word.column, word.value)
        session.add(row)


def _leaving(evict: str | None) -> Sequence[Resident]:
    """The rows that `--evict` names. Raises BadInput when there are none of that name."""
    if evict is None:
        return ()
    wanted = select(Resident).where(Resident.state == "resident")
    if evict != ALL:
        wanted = wanted.where(Resident.model == evict)
    with reading() as session:
        rows = session.scalars(wanted).all()
    if not rows and evict != ALL:
        raise BadInput(f"{evict} is not in memory.", remedy="`hotdesk residents` shows what is.")
    return rows


def _evictions(wishes: Wishes, leaving: Sequence[Resident], now: datetime, rules: Rules | None) -> list[str]:
    if wishes.evict is None and wishes.dry_run:
        return evict_idle(now, rules=_dry(rules)) or ["nothing would be evicted now"]
    return [_evict(row, dry_run=wishes.dry_run) for row in leaving]


def _dry(rules: Rules | None) -> Rules:
    return (rules or Rules()).model_copy(update={"dry_run": True})


def _evict(row: Resident, *, dry_run: bool) -> str:
    if dry_run:
        return f"would evict {row.model} ({row.memory_mib or 0:.0f} MiB) unless it is in use"
    gone = unload_idle(row.id, reason="by hand")
    return f"evicted {row.model}" if gone else f"kept {row.model}: it is in use, or its memory is not back yet"


def _in_memory(now: datetime) -> list[InMemory]:
    usual = current_profile().keep_alive_seconds
    with reading() as session:
        inside, away = held(session, now=now), next_uses(session, now=now)
        own = {k.model: k.keep_alive_seconds for k in session.scalars(select(Keeping))}
        states = {row.id: row.state for row in session.scalars(select(Resident).where(Resident.state != "gone"))}
    return [
        InMemory(
            model=h.model,
            engine=h.engine,
            memory=h.memory,
            context_tokens=h.context_tokens,
            cache_type=h.cache_type,
            memory_mib=round(h.memory_mib, 1),
            state=_state(h, states[h.resident_id]),
            idle_seconds=round(h.idle_seconds, 1),
            next_use_seconds=max(0.0, (away[h.model] - now).total_seconds()) if h.model in away else None,
            keep_alive_seconds=usual if own.get(h.model) is None else own[h.model] or 0.0,
            pinned=h.pinned,
        )
        for h in inside
    ]


def _state(model: Held, state: str) -> str:
    if model.stuck:
        return "gave nothing back"
    return ("in use" if model.busy else "idle") if state == "resident" else state


def _memories(now: datetime, rules: Rules | None) -> Iterator[str]:
    marks = (rules or Rules()).hours.marks(now)
    for name in MEMORIES:
        percent = used_percent(name)
        if percent is None:
            continue
        yield (
            f"{name}: {percent:.0f}% in use by everybody; idle models leave above {marks.high_percent:.0f}%"
            f" down to {marks.low_percent:.0f}%; all models may take {memory_budget_mib():.0f} MiB"
        )
        yield f"  {trust_in_words(name)}"


def _said(model: InMemory) -> str:
    idle = f"idle for {model.idle_seconds:.0f} s of {model.keep_alive_seconds:.0f} s" if model.state == "idle" else ""
    ahead = "" if model.next_use_seconds is None else f"next use in {model.next_use_seconds / 60:.0f} min"
    facts: Sequence[str] = (idle or model.state, ahead, "pinned" if model.pinned else "")
    what = f"{model.model}, {model.context_tokens} tokens ({model.cache_type}), {model.memory_mib:.0f} MiB"
    return f"{model.memory}: {what}: {', '.join(filter(None, facts))}"
