"""A process that sits at the desk and stays there until it is killed or its input ends."""

import sys

from governor.desk import desk
from governor.line import Errand
from governor.profile import current_profile


def main() -> None:
    """Say `seated FENCE` once seated, then wait for the end of stdin."""
    spec = current_profile().tiers[sys.argv[1]]
    with desk(spec, Errand(spec.line, sys.argv[2], spec.model, 60.0)) as seat:
        print("seated", seat.fence, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
