"""Text files of a folder by their relative names, for agents that write a sibling beside each."""

from pydantic import BaseModel, ConfigDict

from blocks.reading.markdown_parts import is_dense
from blocks.reading.places import files_in, locate, name_below, read_text, unreadable

# A page of more is a dump; parsing its markdown would take many seconds.
MOST_BYTES = 256 * 1024
MOST_FILES = 500


class TextFile(BaseModel):
    """A file. `name`: its path in the folder, with `/`. `is_cut`: it is longer, and this is its beginning."""

    model_config = ConfigDict(frozen=True)

    name: str
    text: str
    is_cut: bool = False


def read_texts(source: str, suffixes: frozenset[str], *, max_bytes: int = MOST_BYTES) -> list[TextFile]:
    """Files with these suffixes and something in them, by path; one too dense to be parsed is left out.

    Args:
        max_bytes: most to read of one file; more than `MOST_BYTES` is never read.

    Raises:
        BadInput: unreadable, or none.
    """
    top = locate(source)
    found = []
    for path in files_in(source, suffixes, max_files=MOST_FILES):
        most = min(max_bytes, MOST_BYTES)
        text, is_cut = read_text(str(path), max_bytes=most), path.stat().st_size > most
        name = name_below(top, path)
        if text.strip() and not is_dense(text):
            plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
            found.append(TextFile(name=name, text=plain, is_cut=is_cut))
    if not found:
        raise unreadable(source, f"it holds no {' or '.join(sorted(suffixes))} file with text in it")
    return found
