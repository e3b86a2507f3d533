"""What a model's process gets of our environment: all but the keys of cloud tiers. It outlives the agent."""

import os

from governor.errors import BadInput
from governor.tier_catalogue import catalogue

# Where the catalogue cannot be read: as most of them end.
LIKE_A_KEY = ("_API_KEY", "_TOKEN")


def child_environment() -> dict[str, str]:
    """The environment as it is now, without the variables that the catalogue names for the keys of its tiers."""
    try:
        keys = {name for tier in catalogue().values() for name in tier.key_variables}
    except BadInput:  # models of this machine are not concerned
        keys = {name for name in os.environ if name.endswith(LIKE_A_KEY)}
    return {name: value for name, value in os.environ.items() if name not in keys}
