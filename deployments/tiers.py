"""`hotdesk tiers`: what cloud tiers there are, which have a key, what of each is left, and which are closed and why.

Reads the catalogue, the environment and the state folder, and the `CloudTier` documents where the server answers.
Shows no key. How it looks is `deployments.tiers_view`.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from deployments.environment import SERVER, apply_client_environment, configured_url
from governor import ledger, tier_states
from governor.accounts import environment_accounts
from governor.errors import BadInput, HotdeskError
from governor.policy.allowance import Left, slides
from governor.policy.requests import CloudModel, Privacy
from governor.settings import Home, prepare_home
from governor.tier_catalogue import Provider, the_catalogue
from governor.tier_states import Closed

if TYPE_CHECKING:
    from blocks.cloud_accounts import TierDocument

Documents = Callable[[], "Sequence[TierDocument] | None"]
OUTWARD = (Privacy.NO_TRAINING, Privacy.PUBLIC)


@dataclass(frozen=True)
class Given:
    """One allowance. `resets_at`: when it is whole again, of one that slides when the first use comes back."""

    unit: str
    span: str
    amount: int
    used: int
    left: int
    shared: bool
    slides: bool
    resets_at: datetime


@dataclass(frozen=True)
class Tier:
    """One tier as it is shown.

    Attributes:
        key: where it is from, None without one. why_not: why a document gives none.
        bills_beyond: why the catalogue does not call it free, although some of it is.
    """

    name: str
    key: str | None
    why_not: str
    key_variables: tuple[str, ...]
    may_see: tuple[str, ...]
    trains: str
    free: bool
    bills_beyond: str
    input_usd: float | None
    output_usd: float | None
    allowances: tuple[Given, ...]
    closed_until: datetime | None
    closed_for: str
    closed_why: str
    source: str
    seen: date | None
    unpublished: bool
    note: str


@dataclass(frozen=True)
class Look:
    """All of it at `now`. `server`: whether the documents could be asked for. `done`: what was asked for, and is so."""

    now: datetime
    as_of: date
    server: bool
    done: tuple[str, ...]
    tiers: tuple[Tier, ...]


def run_tiers(
    reopen: str | None = None,
    *,
    as_json: bool = False,
    documents: Documents | None = None,
    environ: Mapping[str, str] | None = None,
) -> str:
    """Open the tier `reopen` if one is named, then say what there is.

    Raises:
        BadInput: no tier of that name, or the catalogue is wrong; nothing was changed.
    """
    where = prepare_home()
    found = documents() if documents else _documents(where)
    look = look_at(found, os.environ if environ is None else environ, reopen=reopen)
    if as_json:
        return json.dumps(asdict(look), default=_plain, indent=2)
    from deployments.tiers_view import lines

    return "\n".join(lines(look))


def look_at(
    documents: "Sequence[TierDocument] | None", environ: Mapping[str, str], *, reopen: str | None = None
) -> Look:
    """The same as a record. `documents`: None while the server is silent."""
    catalogue, now = the_catalogue(), datetime.now(UTC)
    first: dict[str, TierDocument] = {}
    for document in sorted(documents or (), key=lambda one: not one.off):  # as `blocks.cloud_accounts.joined`
        first.setdefault(document.tier or f"? ({document.name})", document)
    models = catalogue.tiers() | {name: d.account.model for name, d in first.items() if d.account}
    names = list(dict.fromkeys([*models, *first]))
    done = (_reopen(reopen, names),) if reopen is not None else ()
    accounts = [account for account in environment_accounts(environ) if account.model.name not in first]
    accounts += [document.account for document in first.values() if document.account]
    keys = {account.model.name: account.origin for account in accounts}
    lefts, closed = ledger.lefts(models.values(), now), tier_states.closed(now, accounts)
    tiers = tuple(
        _tier(
            name,
            models.get(name),
            catalogue.providers.get(name.partition("/")[0]),
            key=keys.get(name),
            why_not=first[name].why if name in first else "",
            state=(lefts.get(name, ()), closed.get(name)),
        )
        for name in names
    )
    return Look(now, catalogue.as_of, documents is not None, done, tiers)


def _tier(
    name: str,
    model: CloudModel | None,
    provider: Provider | None,
    *,
    key: str | None,
    why_not: str,
    state: tuple[tuple[Left, ...], Closed | None],
) -> Tier:
    lefts, closed = state
    return Tier(
        name=name,
        key=key,
        why_not=why_not,
        key_variables=model.key_variables if model else (),
        may_see=tuple(p.value for p in OUTWARD if model and model.may_see(p)),
        trains=model.trains if model else "unknown",
        free=bool(model and model.free),
        bills_beyond=provider.bills_beyond if provider else "",
        input_usd=model.input_usd if model else None,
        output_usd=model.output_usd if model else None,
        allowances=tuple(_given(left, model.zone if model else "UTC") for left in lefts),
        closed_until=closed.until if closed else None,
        closed_for=closed.closed_for if closed else "",
        closed_why=closed.why if closed else "",
        source=provider.source if provider else "",
        seen=provider.seen if provider else None,
        unpublished=bool(provider and provider.unpublished),
        note=provider.note if provider else "",
    )


def _given(left: Left, zone: str) -> Given:
    allowance = left.allowance
    return Given(
        unit=allowance.unit,
        span=allowance.span.value,
        amount=allowance.amount,
        used=left.used,
        left=left.left,
        shared=allowance.shared,
        slides=slides(allowance, zone),
        resets_at=left.until,
    )


def _reopen(name: str, known: Sequence[str]) -> str:
    if name not in known:
        raise BadInput(
            f"There is no tier {name!r}.", means="Nothing was changed.", remedy=f"Use one of: {', '.join(known)}."
        )
    opened = tier_states.reopen(name)
    return f"{name} is open again; the next agent that wants it calls it." if opened else f"{name} was not closed."


def _documents(where: Home) -> "Sequence[TierDocument] | None":
    """Those of the server in use; None where none answers, and Prefect is not even imported then."""
    from deployments.server import answers
    from deployments.services import running

    ours = running(where, SERVER)
    url = configured_url(where) or (ours.address if ours else None)
    if url is None or not answers(url):
        return None
    with suppress(HotdeskError):
        apply_client_environment(where)
    from blocks.cloud_accounts import read_documents  # imports Prefect, which reads the environment

    return read_documents()


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
