"""What a draft must be, whoever wrote it: marked as a draft, its words of the notes, no link or number of its own."""

from pathlib import Path

import yaml

from blocks.checking.prose import LINK, NUMBER
from blocks.reading.places import CHECKOUT

SAMPLES = CHECKOUT / "flows" / "samples" / "drafts"


def check(folder: Path, day: str) -> None:
    """Assert the rules of drafts on what one draft agent wrote on that day."""
    assert (folder / f"{day}.md").is_file()
    text = (folder / f"draft-{day}.md").read_text()
    _, front, body = text.split("---\n", 2)
    said = yaml.safe_load(front)
    assert said["status"] == "draft"
    headings = [line.removeprefix("## ") for line in body.splitlines() if line.startswith("## ")]
    assert headings == [piece["heading"] for piece in said["pieces"]]
    assert any(piece["words"] not in ("nobody", "by rules only") for piece in said["pieces"])
    known = "\n".join(path.read_text(errors="replace") for path in SAMPLES.rglob("*") if path.is_file())
    assert {link.rstrip(".,)\"'") for link in LINK.findall(body) if link.rstrip(".,)\"'") not in known} == set()
    assert {number for number in NUMBER.findall(body) if number not in known} == set()
