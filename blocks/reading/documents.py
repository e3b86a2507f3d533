"""Documents of a folder: text, markdown and mails as files."""

from blocks.reading.items import Item
from blocks.reading.places import locate, read_text, unreadable


def read_documents(source: str, *, max_items: int) -> list[Item]:
    """Text files of a folder, by name.

    Raises:
        BadInput: unreadable, or without any text file.
    """
    folder = locate(source)
    paths = sorted(p for p in folder.iterdir() if p.suffix in {".txt", ".md", ".eml"}) if folder.is_dir() else [folder]
    if not paths:
        raise unreadable(source, "it holds no .txt, .md or .eml file")
    return [Item(id=p.name, title=p.stem, text=read_text(str(p))) for p in paths[:max_items]]
