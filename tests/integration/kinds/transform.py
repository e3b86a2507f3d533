"""What the siblings of files must be: of the same shape, of the sources' words, and within their lengths."""

import json
from pathlib import Path

from blocks.checking.prose import NUMBER
from blocks.checking.short_texts import ALT_CHARACTERS, DESCRIPTION_CHARACTERS, TITLE_CHARACTERS
from blocks.checking.translations import PROTECTED
from blocks.reading.places import CHECKOUT
from blocks.reading.translatable import shape

SAMPLES = CHECKOUT / "flows" / "samples" / "transform"


def check(folder: Path, day: str) -> None:
    """Assert the rules of transformations on what one transform agent wrote on that day."""
    assert (folder / f"{day}.md").is_file()
    siblings = [path for path in folder.iterdir() if path.suffix in (".md", ".json") and not path.name.startswith(day)]
    assert siblings
    for path in siblings:
        if path.name.endswith(".summary.md"):
            _summary(path)
        elif path.name.endswith(".md"):
            assert shape(path.read_text()) == shape(_source(path, ".md").read_text())
        elif path.name.endswith(".alt.json"):
            assert all(len(row["alt"]) <= ALT_CHARACTERS for row in json.loads(path.read_text()))
        elif path.name.endswith(".seo.json"):
            said = json.loads(path.read_text())
            assert 0 < len(said["title"]) <= TITLE_CHARACTERS
            assert 0 < len(said["description"]) <= DESCRIPTION_CHARACTERS
        else:
            _strings(path)


def _summary(path: Path) -> None:
    known = "\n".join(source.read_text() for source in (SAMPLES / "transcripts").iterdir())
    body = path.read_text().partition("\n")[2].rpartition(" more parts were not summarised.")
    text = (body[0].rpartition("\n")[0] or body[2]).replace("135M", "")
    assert {number for number in NUMBER.findall(text) if number not in known} == set()


def _strings(path: Path) -> None:
    before, after = json.loads(_source(path, ".json").read_text()), json.loads(path.read_text())
    assert list(before) == list(after)
    assert all(sorted(PROTECTED.findall(before[key])) == sorted(PROTECTED.findall(after[key])) for key in before)


def _source(path: Path, suffix: str) -> Path:
    """The file that a sibling `name--of--folders.LANGUAGE.suffix` stands beside."""
    name = path.name.removesuffix(suffix).rpartition(".")[0].replace("--", "/")
    return SAMPLES / "docs" / f"{name}{suffix}"
