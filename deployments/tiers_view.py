"""How `hotdesk tiers` looks: the tiers with a key in full, the others one line for each provider."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from deployments.tiers import Given, Look, Tier
from governor.policy.allowance import clock

SPANS = {"hour": "an hour", "five_hours": "in five hours"}
# What comes back so soon that nobody asks when.
SOON = ("second", "minute")
WORDS = {"no": "does not train on prompts", "yes": "trains on prompts", "unknown": "may train on prompts"}
WHOSE_KEYS = "Keys of the environment are those of this shell; agents have those of the shell of `hotdesk up`."
# What nobody but the provider can know of a key, and the catalogue assumes.
UNPAID = "if the account has no means of payment"
NOTHING_ELSE = "words whose agent says nothing stay on this machine"


def lines(look: Look) -> Iterator[str]:
    """All that is said, top to bottom."""
    yield from look.done
    usable = [tier for tier in look.tiers if tier.key or tier.why_not]
    yield f"Cloud tiers, catalogue as of {look.as_of}; {NOTHING_ELSE}."
    if not look.server:
        yield "The Prefect server does not answer: keys in its blocks are not shown, and agents use none until it does."
    if any(_is_of_the_shell(tier) for tier in usable):
        yield WHOSE_KEYS
    for tier in usable:
        yield from _in_full(tier, look.now)
    rest = [tier for tier in look.tiers if tier not in usable]
    if rest:
        yield "Without a key (set the variables, or make a Cloud Tier block in the Prefect UI):"
    yield from _in_short(rest)


def _in_full(tier: Tier, now: datetime) -> Iterator[str]:
    if not tier.key:
        yield f"{tier.name}  not used: {tier.why_not}"
        return
    yield f"{tier.name}  key from {tier.key}"
    yield f"  {WORDS[tier.trains]}: sees {' and '.join(tier.may_see)} work; {_price(tier)}"
    if tier.bills_beyond and not tier.free:
        yield f"  free only where a Cloud Tier block says so (`free` on): {tier.bills_beyond}"
    guessed = " (not published, on the low side)" if tier.unpublished else ""
    if tier.allowances:
        yield f"  used{guessed}: {'; '.join(_allowance(given, now) for given in tier.allowances)}"
    if tier.closed_until:
        how = f"open it: `hotdesk tiers --reopen {tier.name}`"
        yield f"  closed until {clock(tier.closed_until, now)}: {tier.closed_why}; {how}"


def _in_short(tiers: Sequence[Tier]) -> Iterator[str]:
    providers: dict[str, list[Tier]] = {}
    for tier in tiers:
        providers.setdefault(tier.name.partition("/")[0], []).append(tier)
    for provider, theirs in providers.items():
        models = ", ".join(tier.name.partition("/")[2] for tier in theirs)
        paid = "" if theirs[0].free else "; costs money"
        paid += " unless a block says that it is free" if theirs[0].bills_beyond else ""
        yield f"  {provider} ({', '.join(theirs[0].key_variables)}): {models}; {WORDS[theirs[0].trains]}{paid}"


def _allowance(given: Given, now: datetime) -> str:
    text = f"{given.used:,} of {given.amount:,} {given.unit} {SPANS.get(given.span, f'a {given.span}')}"
    text += " of all its models" if given.shared else ""
    if given.span in SOON or not given.used:
        return text
    ends = given.resets_at.astimezone(UTC)
    again = "the first comes back" if given.slides else "anew"
    return f"{text}, {again} {clock(ends, now)}"


def _is_of_the_shell(tier: Tier) -> bool:
    return (tier.key or "").startswith("environment")


def _price(tier: Tier) -> str:
    if tier.input_usd is None or tier.output_usd is None:
        known = "its price is unknown"
        return f"free, {known}" if tier.free else f"{known}: not called"
    listed = f"${tier.input_usd:.3g} in and ${tier.output_usd:.3g} out a million tokens"
    if not tier.free:
        return f"{listed}, under the router's ceiling"
    return f"free{f' {UNPAID}' if _is_of_the_shell(tier) else ''}, at list price {listed}"
