"""Whether a quote stands in its file, where it says it does; read anew, so that no step between can have changed it."""

from blocks.reading.claims import MOST_LINE, Quote
from blocks.reading.places import locate, read_file, text_of
from governor.errors import BadInput


def verbatim(source: str, quote: Quote) -> bool:
    """Whether the file says that from that line on; a quoted line may be cut at `MOST_LINE`."""
    top = locate(source)
    try:
        lines = text_of(read_file(top / quote.path if top.is_dir() else top)).splitlines()
    except (BadInput, OSError):
        return False
    quoted = quote.text.split("\n")
    stands = lines[quote.line - 1 : quote.line - 1 + len(quoted)]
    return [line.rstrip()[: max(MOST_LINE, len(q))] for line, q in zip(stands, quoted, strict=False)] == quoted
