"""Where sources lie: files and folders of this machine or web addresses, read as bytes or text within bounds."""

from pathlib import Path

from blocks.reading.fetch import fetch
from governor.errors import BadInput
from governor.settings import home

CHECKOUT = Path(__file__).parents[2]
MAX_BYTES = 4 * 1024 * 1024
# A source that begins so lies in the state folder: what other agents wrote, what was made for the samples.
STATE_FOLDER = "state:"


def locate(source: str) -> Path:
    """Path of a source: relative ones from the checkout, `state:NAME` in the state folder.

    Raises:
        BadInput: it does not exist or cannot be read.
    """
    if source.startswith(STATE_FOLDER):
        path = home().root / source.removeprefix(STATE_FOLDER)
    else:
        path = CHECKOUT / Path(source).expanduser()
    try:
        path.stat()
    except OSError as error:
        raise unreadable(source, error.strerror or str(error)) from error
    return path


def read_bytes(source: str, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The beginning of a file, or of what an http(s) address gives, at most `max_bytes`."""
    if source.startswith(("http://", "https://")):
        return fetch(source, max_bytes=max_bytes)
    try:
        with locate(source).open("rb") as file:
            return file.read(max_bytes)
    except OSError as error:
        raise unreadable(source, error.strerror or str(error)) from error


def read_text(source: str, *, max_bytes: int = MAX_BYTES) -> str:
    """The same as text; bytes that are no UTF-8 are read as Latin-1."""
    raw = read_bytes(source, max_bytes=max_bytes)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def files_in(source: str, suffixes: frozenset[str], *, max_files: int = 1000) -> list[Path]:
    """Files of a folder and all below it with these suffixes, by path; a file that is named itself is the only one.

    Links that lead out of the folder are left out, and so is what begins with a dot.
    """
    top = locate(source)
    if not top.is_dir():
        return [top]
    root = top.resolve()
    found = []
    for path in sorted(top.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(top).parts)
        if hidden or path.suffix.lower() not in suffixes or not path.is_file():
            continue
        if path.resolve().is_relative_to(root):
            found.append(path)
        if len(found) == max_files:
            break
    return found


def unreadable(source: str, why: str) -> BadInput:
    """A source that cannot be used, for whoever set it."""
    return BadInput(
        f"The source {source} cannot be used: {why}.",
        means="The agent wrote nothing; its earlier outputs are untouched.",
        remedy="Correct `source` (or `prompt_file`) in prefect.yaml or in the run's form.",
        source=source,
    )
