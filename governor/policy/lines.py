"""The names of lines: one line per card, named so that more cards and more hosts can follow.

`gpu` and `cpu` are this machine's; `gpu:1` is its second card, `gpu:tower:0` the first card of the host
`tower`. A line has the same name as its limit at Prefect and as its rows. Pure.
"""

import re
from dataclasses import dataclass

# A seat at the desk of an earlier kind may be kept while one of a later kind is asked for, never the other
# way round: two agents that did both would wait for each other for good.
KINDS = ("gpu", "cpu")
PATTERN = re.compile(r"(?P<kind>gpu|cpu)(:(?P<host>[A-Za-z][A-Za-z0-9.-]*))?(:(?P<index>\d{1,3}))?")


@dataclass(frozen=True)
class LineName:
    """A line by its parts. `host` is '' for this machine; `index` counts the cards of a host from 0."""

    kind: str
    host: str = ""
    index: int = 0

    def __str__(self) -> str:
        """The shortest name: `gpu`, `gpu:1`, `gpu:tower:0`."""
        parts = [self.kind, self.host, str(self.index) if self.index or self.host else ""]
        return ":".join(part for part in parts if part)


def parse(name: str) -> LineName:
    """The parts of a line's name.

    Raises:
        ValueError: it is none.
    """
    found = PATTERN.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is no line: use gpu, cpu, gpu:1 or gpu:HOST:0")
    return LineName(found["kind"], found["host"] or "", int(found["index"] or 0))


def may_nest(held: str, wanted: str) -> bool:
    """Whether somebody who sits at `held` may wait for `wanted`."""
    return KINDS.index(parse(held).kind) < KINDS.index(parse(wanted).kind)
