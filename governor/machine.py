"""What this machine is: its cards and memory, its cores, its power, and which models are on it. Looks, decides nothing.

HOTDESK_POWER=mains or battery says how it is powered instead of the battery, for machines whose battery is not seen
(a container, a battery behind a UPS) or is not meant. A machine without a battery is on mains, and so is one that
does not say.
"""

import os

from pydantic import Field

from governor.engines import engine, ollama
from governor.errors import BadInput
from governor.policy.facts import Fact
from governor.sensors import gpu, host
from governor.settings import home

MAINS, BATTERY = "mains", "battery"


class Machine(Fact):
    """What was found here.

    Attributes:
        vram_mib: memory of all cards together; 0 means no GPU. cards: how many they are.
        card: the driver's uuid of the first one.
        tags: models that Ollama has and that are what they should be; None means that no Ollama answers.
        refused: models that Ollama has with other weights than they should have, and that are therefore not used.
        files: names in the state folder's `weights`. llama_server: whether that engine can be started.
    """

    vram_mib: float
    memory_mib: float
    cores: int
    tags: tuple[str, ...] | None = None
    card: str | None = None
    cards: int = Field(default=1, ge=0)
    refused: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    llama_server: bool = False
    on_mains: bool = True

    @property
    def power(self) -> str:
        """`mains` or `battery`."""
        return MAINS if self.on_mains else BATTERY


def look_around() -> Machine:
    """Ask the driver, the host and Ollama; takes half a second at most where Ollama does not answer.

    Raises:
        BadInput: `HOTDESK_POWER` is neither mains nor battery.
    """
    on_disk = ollama.on_disk()
    refused = _refused(on_disk) if on_disk else frozenset()
    cards = gpu.total_mib_by_card()
    return Machine(
        vram_mib=sum(cards.values()),
        memory_mib=host.total_mib() or 0.0,
        cores=host.cores(),
        tags=None if on_disk is None else tuple(model.name for model in on_disk if model.name not in refused),
        card=next((uuid for uuid in cards if uuid), None),
        cards=len(cards),
        refused=tuple(sorted(refused)),
        files=_weight_files(),
        llama_server=engine("llama_server").health() is None,
        on_mains=_on_mains(),
    )


def _refused(on_disk: list[ollama.OnDisk]) -> frozenset[str]:
    from governor import model_pins  # with the database behind it, which nobody needs who has no Ollama

    return model_pins.refused(on_disk)


def _weight_files() -> tuple[str, ...]:
    try:
        return tuple(sorted(path.name for path in home().weights.iterdir() if path.suffix.lower() == ".gguf"))
    except OSError:  # not made yet
        return ()


def _on_mains() -> bool:
    named = os.environ.get("HOTDESK_POWER", "").strip().lower()
    if named and named not in (MAINS, BATTERY):
        raise BadInput(f"HOTDESK_POWER is {named!r}.", remedy=f"Use {MAINS} or {BATTERY}, or unset it.")
    return named == MAINS if named else host.on_mains() is not False
