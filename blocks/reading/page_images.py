"""The images of markdown pages with the words around them. Nobody looks at a picture here: only words are known."""

import re
from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict

from blocks.checking.prose import first_sentence
from blocks.fitting import within_tokens
from blocks.reading.items import Item
from blocks.reading.markdown_parts import parser, without_front_matter
from blocks.untrusted import as_data

# An alternative text of three words says something; `IMG_2041` and `image` do not.
LEAST_WORDS = 3
CAPTION = re.compile(r"^[*_](?![*_])(.{3,300})[*_]$")
CAMERA = re.compile(r"^(?:img|dsc[nf]?|pict|image|foto|photo|screenshot|bild|scan)?[\W_\d]*$", re.IGNORECASE)
NEARBY_CHARACTERS = 160
MOST_IMAGES = 400


class Picture(BaseModel):
    """An image of a page. `item`: id is `file:number source`, text what is known of it. `alt`: as written."""

    model_config = ConfigDict(frozen=True)

    item: Item
    file: str
    source: str
    alt: str
    caption: str = ""

    @property
    def is_described(self) -> bool:
        """Whether somebody wrote an alternative text that says something."""
        return len(re.findall(r"[^\W\d_]{2,}", self.alt)) >= LEAST_WORDS


def pictures_of(name: str, text: str) -> list[Picture]:
    """Every image in order; its words are its title, a caption after it, its file's name, what stands beside it."""
    blocks = [token for token in parser().parse(without_front_matter(text)[1]) if token.type == "inline"]
    words = [
        as_data("".join(c.content for c in t.children or [] if c.type in ("text", "softbreak")), 600) for t in blocks
    ]
    found: list[Picture] = []
    for place, block in enumerate(blocks):
        images = [child for child in block.children or [] if child.type == "image"]
        for image in images:
            source = str(image.attrs.get("src", ""))
            after = CAPTION.match(blocks[place + 1].content.strip()) if place + 1 < len(blocks) else None
            caption = as_data(str(image.attrs.get("title") or (after[1] if after else "")), 200)
            nearby = next((w for w in (words[place], *reversed(words[:place])) if w), "")
            nearby = first_sentence(nearby, NEARBY_CHARACTERS)
            # What stands beside an image is about it only where nothing else is known.
            known = [part for part in (caption, _file_words(source)) if part] or [part for part in (nearby,) if part]
            item = Item(
                id=f"{name}:{len(found) + 1} {source[:120]}",
                title=as_data(PurePosixPath(source).name, 120),
                text=within_tokens(". ".join(part.rstrip(".") for part in known)) + "." if known else "",
            )
            alt = as_data(image.content, 300)
            found.append(Picture(item=item, file=name, source=source[:500], alt=alt, caption=caption))
    return found[:MOST_IMAGES]


def _file_words(source: str) -> str:
    stem = re.split(r"[?#]", source)[0].rpartition("/")[2].rpartition(".")[0]
    return "" if CAMERA.match(stem) else as_data(re.sub(r"[-_%\d]+", " ", stem), 80)
