"""Bytes as text, whatever encoding they were said to be in. Pure."""

import codecs
import re

from blocks.untrusted import SURROGATE

# What browsers read under these names too (WHATWG, "Encoding"): Windows wrote it and called it Latin-1. What is said
# to be UTF-8 and is none comes from there as well.
WINDOWS = "cp1252"
CALLED_LATIN_1 = frozenset({"iso8859-1", "ascii", "utf-8", WINDOWS})
# Python's codecs that are no encodings of texts that anybody sends: names of hosts, source code, the machine's own.
NO_ENCODINGS = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs", "oem"})
DECLARED = re.compile(rb"""<\?xml[^>]{0,80}encoding=["']([\w.:-]{1,40})["']""", re.IGNORECASE)
MARKS = (("utf-8-sig", codecs.BOM_UTF8), ("utf-16", codecs.BOM_UTF16_LE), ("utf-16", codecs.BOM_UTF16_BE))


def decoded(raw: bytes, declared: str = "") -> str:
    """Text of any bytes; never fails, and can always be encoded again.

    Bytes beyond ASCII that are whole UTF-8 are UTF-8 whatever was declared: by chance that does not happen. A last
    letter that was cut off is left out. Else the declaration counts where it can be followed, and Windows' Latin-1
    where it cannot.
    """
    return SURROGATE.sub("\ufffd", _decoded(raw, declared))


def _decoded(raw: bytes, declared: str) -> str:
    for name, mark in MARKS:
        if raw.startswith(mark):
            return raw.decode(name, "replace")
    if not raw.isascii():
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(raw)
        except UnicodeDecodeError:
            text = ""
        if text and not text.isascii():
            return text
    try:
        name = codecs.lookup(declared or WINDOWS).name
        if name.replace("_", "-") in NO_ENCODINGS:
            name = WINDOWS
        return raw.decode(WINDOWS if name in CALLED_LATIN_1 else name, "replace")
    except (LookupError, UnicodeError, ValueError):  # no such encoding, or one of bytes to bytes
        return raw.decode(WINDOWS, "replace")


def declared_in(raw: bytes) -> str:
    """The encoding that an XML document names in its first line, '' for none."""
    found = DECLARED.search(raw[:400])
    return found[1].decode() if found else ""
