"""Which weights Ollama has under a tag, and whether they are those that they should be.

Ollama checks a file of weights against its sha256 as it comes and keeps it under that name, so its name is compared:
with the one in `models.yaml`, or with the one that was seen at the first pull where none is known there. What was
found is kept in the settings of the state folder with the digest of Ollama's manifest: while that stays the same,
nobody has to ask again. A model whose weights are others is not used.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select

from governor.engines import ollama
from governor.engines.ollama import OnDisk
from governor.model_catalogue import Model
from governor.settings import home
from governor.state.models import Setting
from governor.state.sessions import reading, recall, remember

# Beside the weights Ollama counts their template, licence and settings, some ten kB.
BESIDE_BYTES = 16 * 1024 * 1024
RIGHT, WRONG = "right", "wrong"


class Verdict(NamedTuple):
    """What was found: `problem` '' when all is well. `sha256` None: Ollama does not say. `first`: seen first now."""

    sha256: str | None
    problem: str = ""
    first: bool = False


def check(model: Model, listed: OnDisk) -> Verdict:
    """Compare what Ollama has under the model's tag with what it should be, and keep what was found.

    What Ollama does not say is unknown, and unknown is neither right nor wrong: nothing is kept then.
    """
    tag = ollama.full_name(model.ollama or model.name)
    sha256 = ollama.weights_sha256(tag)
    if sha256 is None:
        return Verdict(None)
    wanted = model.sha256 or recall(_pin(tag))
    problem = _problem(model, listed, sha256, wanted)
    if not wanted and not problem:
        remember(_pin(tag), sha256)
    remember(_found(tag), f"{WRONG if problem else RIGHT} {listed.digest}")
    return Verdict(sha256, problem, first=not wanted and not problem)


def is_checked(listed: OnDisk) -> bool:
    """Whether exactly what Ollama has under this tag now was checked before."""
    return listed.digest != "" and recall(_found(listed.name)).endswith(f" {listed.digest}")


def refused(on_disk: Sequence[OnDisk]) -> frozenset[str]:
    """Those whose weights were found to be others than they should be. Reads only, and only what is there."""
    if not on_disk or not home().database.exists():
        return frozenset()
    with reading() as session:
        named = Setting.key.in_([_found(one.name) for one in on_disk])
        found = {row.key: row.value for row in session.scalars(select(Setting).where(named))}
    return frozenset(one.name for one in on_disk if found.get(_found(one.name)) == f"{WRONG} {one.digest}")


def _problem(model: Model, listed: OnDisk, sha256: str, wanted: str) -> str:
    if wanted and sha256 != wanted:
        return f"its weights are sha256 {sha256[:12]}..., they should be {wanted[:12]}..."
    size = listed.size_bytes
    if size is not None and not model.size_bytes <= size < model.size_bytes + BESIDE_BYTES:
        return f"it has {size} bytes, its weights should have {model.size_bytes}"
    return ""


def _pin(tag: str) -> str:
    return f"weights_sha256:{tag}"


def _found(tag: str) -> str:
    return f"weights_found:{tag}"
