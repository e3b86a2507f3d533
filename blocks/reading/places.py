"""Where sources lie: files and folders of this machine or web addresses, read as bytes or text within bounds.

A folder is a jail: what leads out of it is not read. Of the state folder only what agents write and what was made for
the samples is a source; its databases, its logs and its key are none, however they are named.
"""

import codecs
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from blocks.reading.charsets import decoded
from blocks.reading.fetch import fetch
from governor.errors import BadInput
from governor.settings import home

CHECKOUT = Path(__file__).parents[2]
MAX_BYTES = 4 * 1024 * 1024
# A source that begins so lies in the state folder: what other agents wrote, what was made for the samples.
STATE_FOLDER = "state:"
SOURCES_IN_STATE = ("out", "samples")
# Of a folder: deeper or more than this is no source that anybody keeps by hand.
MOST_DEPTH = 32
MOST_NAMES = 100_000
# A guess at an encoding is believed where the words are a language's too (charset-normalizer's `coherence`, 0 to 1):
# of short texts it is a guess in the dark, of a few lines 0.4 and more (measured).
BELIEVED_COHERENCE = 0.2
GUESSED_FROM_BYTES = 65_536


def locate(source: str) -> Path:
    """Path of a source: relative ones from the checkout, `state:NAME` in the state folder.

    Raises:
        BadInput: it does not exist, cannot be read, is no file and no folder, or is none of the state folder's sources.
    """
    try:
        if source.startswith(STATE_FOLDER):
            path = home().root / source.removeprefix(STATE_FOLDER)
        else:
            path = CHECKOUT / Path(source).expanduser()
        mode = path.stat().st_mode
        real = path.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name; no home of that user; a loop of links
        raise unreadable(source, getattr(error, "strerror", None) or str(error)) from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise unreadable(source, "it is neither a file nor a folder")
    if not _is_open(real, in_state=source.startswith(STATE_FOLDER)):
        raise unreadable(source, f"of the state folder only {' and '.join(SOURCES_IN_STATE)} are read")
    return path


def _is_open(real: Path, *, in_state: bool) -> bool:
    """Whether a path, links resolved, may be a source: in the state folder only what agents write and read."""
    root = home().root.resolve()
    if any(real.is_relative_to((root / name).resolve()) for name in SOURCES_IN_STATE):
        return True
    # The checkout may lie in the state folder; then only its own files are open.
    in_checkout = CHECKOUT.resolve().is_relative_to(root) and real.is_relative_to(CHECKOUT.resolve())
    return not in_state and (not real.is_relative_to(root) or in_checkout)


def read_bytes(source: str, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The beginning of a file, or of what an http(s) address gives, at most `max_bytes`."""
    if source.lower().startswith(("http://", "https://")):
        return fetch(source, max_bytes=max_bytes)
    return read_file(locate(source), max_bytes=max_bytes)


def read_file(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The beginning of a file, at most `max_bytes`; what is no file (a pipe, a device) is not waited for.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise unreadable(str(path), "it is no file")
            return file.read(max_bytes)
    except (OSError, ValueError) as error:
        raise unreadable(str(path), getattr(error, "strerror", None) or str(error)) from error


def read_text(source: str, *, max_bytes: int = MAX_BYTES) -> str:
    """The same as text: UTF-8, or UTF-16 that says so, else what its words look like, else Windows' Latin-1."""
    raw = read_bytes(source, max_bytes=max_bytes)
    return text_of(raw, is_cut=len(raw) == max_bytes)


def text_of(raw: bytes, *, is_cut: bool = False) -> str:
    """Bytes as text; never fails. `is_cut`: they may end inside a letter, which is left out."""
    if not raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return codecs.getincrementaldecoder("utf-8-sig")().decode(raw, final=not is_cut)
        except UnicodeDecodeError:
            pass
        if encoding := _guessed(raw):
            return raw.decode(encoding, "replace")
    return decoded(raw)


def _guessed(raw: bytes) -> str:
    """The encoding of a text, by the language that its words would be of; '' where that is not clear."""
    from charset_normalizer import from_bytes

    best = from_bytes(raw[:GUESSED_FROM_BYTES]).best()
    return best.encoding if best is not None and best.coherence >= BELIEVED_COHERENCE else ""


def files_in(source: str, suffixes: frozenset[str], *, max_files: int = 1000) -> list[Path]:
    """Files of a folder and all below it with these suffixes, by path; a file that is named itself is the only one.

    Links that lead out of the folder are left out, and so is what begins with a dot, what is no file (pipes, devices),
    and what has a name that is no UTF-8, which no page could show. Linked folders are not entered.
    """
    top = locate(source)
    if not top.is_dir():
        return [top]
    root, found = top.resolve(), list[Path]()
    for number, path in enumerate(_names(top, 0)):
        if len(found) == max_files or number == MOST_NAMES:
            break
        if path.suffix.lower() in suffixes and _is_inside(path, root):
            found.append(path)
    return found


def _names(folder: Path, depth: int) -> Iterator[Path]:
    """What is no folder in it and below it, by path; folders that cannot be read are empty."""
    try:
        with os.scandir(folder) as entries:
            rows = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError:
        return
    for name, is_folder in rows:
        if name.startswith(".") or not name.isprintable():
            continue
        if not is_folder:
            yield folder / name
        elif depth < MOST_DEPTH:
            yield from _names(folder / name, depth + 1)


def _is_inside(path: Path, root: Path) -> bool:
    """Whether a name is a file of this folder, links resolved."""
    try:
        real = path.resolve(strict=True)
        return real.is_relative_to(root) and stat.S_ISREG(real.stat().st_mode)
    except (OSError, RuntimeError):  # it went away, or is a loop
        return False


def name_below(top: Path, path: Path) -> str:
    """What a file of a source is called: its path in that folder; the bare name where the source is a file."""
    return path.relative_to(top).as_posix() if top in path.parents else path.name


def unreadable(source: str, why: str) -> BadInput:
    """A source that cannot be used, for whoever set it."""
    return BadInput(
        f"The source {source if source.isprintable() else ascii(source)} cannot be used: {why}.",
        means="The agent wrote nothing; its earlier outputs are untouched.",
        remedy="Correct `source` (or `prompt_file`) in prefect.yaml or in the run's form.",
        source=source,
    )
