"""Checks of the cloud tiers: how old the catalogue is, and which of them have a key in this environment.

Without any key every word stays on this machine, which is a normal case.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from deployments.checks import Check, failed, passed, warned
from governor.accounts import environment_accounts
from governor.errors import BadInput
from governor.policy.requests import CloudModel
from governor.tier_catalogue import the_catalogue

# In a season of 2026 two of eleven providers ended their free tier and one all its models (see `free_tiers.yaml`).
LONGEST_AGE = timedelta(days=90)
NAME = "cloud tiers"


def tiers() -> Check:
    """The catalogue is sound and not too old; which tiers have a key."""
    return tiers_on(datetime.now(UTC).date(), os.environ)


def tiers_on(today: date, environ: Mapping[str, str]) -> Check:
    """The same on a given day."""
    try:
        as_of = the_catalogue().as_of
        models = [account.model for account in environment_accounts(environ)]
    except BadInput as error:
        return failed(NAME, error.happened, error.remedy)
    keys = _keys(models)
    if today - as_of > LONGEST_AGE:
        remedy = "Update hotdesk, or say in a `CloudTier` block what is different; see `hotdesk tiers`."
        return warned(NAME, f"the catalogue is of {as_of} and free tiers change; {keys}", remedy)
    return passed(NAME, f"catalogue of {as_of}; {keys}")


def _keys(models: Sequence[CloudModel]) -> str:
    """The tiers with a key, told apart by whether a call may cost something: that is not seen from a key."""
    if not models:
        return "no key in the environment"
    free, paid = (", ".join(m.name for m in models if m.free is wanted) for wanted in (True, False))
    said = [f"{free} (free if the account has no means of payment)"] if free else []
    said += (
        [f"{paid} (called only under the router's ceiling, or where a Cloud Tier block says `free`)"] if paid else []
    )
    return f"keys in the environment for {'; '.join(said)}"
