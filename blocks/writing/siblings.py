"""Files that stand beside others: their names, flat and never twice, their pages, tame, and whose source is gone."""

import re
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePosixPath

from blocks.writing.outputs import PROVENANCE, read_provenance, sha256
from blocks.writing.safe_markdown import tame

# Shorter than any file system's limit (255 bytes), with room for a suffix.
MOST_CHARACTERS = 100
SUFFIX = re.compile(r"\.[a-z]{2,5}", re.IGNORECASE)
# What stands behind the stem in the name of a sibling.
ENDING = re.compile(r"\.[a-z]{2,10}\.(?:md|json)")
# Devices on Windows, whatever their suffix.
# A path in the page's own folder or below, or its image: what a site's pages lead to one another by.
RELATIVE = re.compile(
    r"""(?:!\[(?![^\]\n]*www\.)[^\[\]<>`\\!&:\n]{0,300})?\](?<!\\\])"""
    r"""\((?!www\.)[\w.][\w./#-]{0,300}(?: "[^"\[\]<>`\\&:\n]{0,200}")?\)""",
    re.IGNORECASE,
)
DEFINITION = re.compile(r"^ {0,3}\[[^\[\]<>`\\\n]{1,200}\]: +(\S{1,500})$", re.MULTILINE)
# Around the number of what is put aside; of the private use area, so no text means anything by them.
ASIDE = "\ue000{}\ue001"
RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(1, 10))})


def sibling_names(paths: Iterable[str], suffix: str) -> dict[str, str]:
    """Path of a source in its folder -> name of its sibling: `guide/start.md` with `.de.md` is `guide--start.de.md`.

    What two paths would share gets a number, in the order of the paths.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for path in paths:
        stem, number = _stem(path), 1
        name = f"{stem}{suffix}"
        while name.lower() in taken:
            number += 1
            name = f"{stem}~{number}{suffix}"
        taken.add(name.lower())
        names[path] = name
    return names


def _stem(path: str) -> str:
    """Folders and name in one, of letters, digits, dots and dashes."""
    parts = [part for part in PurePosixPath(path.replace("\\", "/")).parts if part not in ("/", ".", "..")]
    whole = "--".join(parts)
    stem = whole[: whole.rfind(".")] if "." in whole.rpartition("--")[2][1:] else whole
    plain = re.sub(r"[^\w.~-]+", "-", stem).strip(".-~")[:MOST_CHARACTERS].strip(".-~")
    return f"file-{plain}" if not plain or plain.lower() in RESERVED else plain


def tame_sibling(text: str, *, links: AbstractSet[str]) -> str:
    """A page beside its source: tame, but with references, and with the links and images of its own folder."""
    kept: list[str] = []

    def aside(found: re.Match[str]) -> str:
        if found.lastindex and found[1] not in links:
            return found[0]
        kept.append(found[0])
        return ASIDE.format(len(kept) - 1)

    put = DEFINITION.sub(aside, RELATIVE.sub(aside, re.sub("[\ue000\ue001]", "", text)))
    tamed = tame(put, links=links)
    return re.sub("\ue000(\\d+)\ue001", lambda found: kept[int(found[1])], tamed)


def left_behind(folder: Path, source: Path, *, written: Collection[str]) -> list[Path]:
    """Siblings of the last run whose source is gone from its folder, unless somebody wrote in them since.

    Args:
        written: names that this run writes.
    """
    days = sorted(path.name.removesuffix(PROVENANCE) for path in folder.glob(f"????-??-??{PROVENANCE}"))
    before = read_provenance(folder, days[-1]) if days else None
    if before is None or not source.is_dir():
        return []
    # Parts of files are inputs too, `talk.txt#3`; a part is nobody's source.
    sources = [name for name in before.inputs if SUFFIX.fullmatch(PurePosixPath(name).suffix)]
    there = {_stem(name) for name in sources if (source / name).is_file()}
    gone = {_stem(name) for name in sources} - there
    return [
        folder / name
        for name, digest in before.files.items()
        if name not in written
        and any(name.startswith(stem) and ENDING.fullmatch(name[len(stem) :]) for stem in gone)
        and (folder / name).is_file()
        and sha256((folder / name).read_bytes()) == digest
    ]
