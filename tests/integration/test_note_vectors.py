"""The notes of the samples indexed by the real embedding model: what is about the same is near.

Without its weights in the cache there is nothing to try here; `hotdesk up` and the long test of embeddings fetch them.
"""

import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from blocks import run as frame
from blocks.checking.vectors import from_blob
from blocks.writing.outputs import folder_of
from deployments.embedder_weights import MINILM
from flows.index import Index, IndexParameters, index
from governor.answers import Asked, answer_by
from governor.engines.protocol import Loaded
from governor.policy.requests import Candidate, ModelRequest
from governor.settings import Home
from tests.integration.test_embeddings import ENGINE, embedded, spec_of, vectors
from tests.unit.fleet_stage import BY_HAND

NOTES = Path("flows/samples/notes")
# Two notes about one thing, by name, and one about another (read by hand).
ALIKE, UNLIKE = ("backups.md", "restore-test-october.md"), "tubeless.md"


class RealVectors:
    """A FAKE of the router only: the vectors are those of a real child of the engine."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded, self.asked = loaded, list[ModelRequest]()

    def largest_billion(self, request: ModelRequest) -> float:
        return 0.0

    def ask_all(self, requests: Sequence[ModelRequest], **_: Any) -> Asked:
        self.asked += requests
        candidate = Candidate(tier="embedder", reason="the real one")
        return Asked(
            [
                answer_by(candidate, text="vectors", data=vectors(self._embedded(request)), problems=[])
                for request in requests
            ]
        )

    def _embedded(self, request: ModelRequest) -> Any:
        return embedded(self.loaded, list(request.inputs.values()))


@pytest.fixture
def embedder(hotdesk_home: Home) -> Iterator[Loaded]:
    name = MINILM.made_name
    file = Home(platformdirs.user_cache_path("hotdesk", appauthor=False)).weights / str(name)
    if not file.is_file():
        pytest.skip("the weights of the embedding model are not in the cache")
    (hotdesk_home.weights / file.name).symlink_to(file)
    loaded = ENGINE.load(spec_of(file.name, context_tokens=512))
    yield loaded
    assert ENGINE.unload(loaded, "embedder")


def test_notes_about_the_same_are_neighbours_and_a_re_run_asks_nothing(
    embedder: Loaded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    some = [NOTES / name for name in (*ALIKE, UNLIKE)] + sorted(NOTES.glob("*.md"))[:5]
    source = tmp_path / "notes"
    source.mkdir()
    for note in some:
        (source / note.name).write_bytes(note.read_bytes())
    models = RealVectors(embedder)
    monkeypatch.setattr(frame, "current_router", lambda: models)
    parameters = IndexParameters(index=Index.NOTES, source=str(source), max_items=60)
    for _ in range(2):
        index.fn(parameters)
    folder = folder_of(BY_HAND)
    assert len(models.asked) == len({note.name for note in some})
    assert near(folder, ALIKE[0])[0] == ALIKE[1]
    assert UNLIKE not in near(folder, ALIKE[0])
    with closing(sqlite3.connect(folder / "index.sqlite")) as database:
        blobs = [blob for (blob,) in database.execute("SELECT vector FROM chunks")]
    assert [math.hypot(*from_blob(blob)) for blob in blobs] == pytest.approx([1.0] * len(blobs), abs=1e-3)


def near(folder: Path, note: str) -> list[str]:
    """The neighbours of a note, nearest first."""
    lines = (folder / "neighbours.csv").read_text().splitlines()
    return [line.split(",")[1] for line in lines if line.startswith(f"{note},")]
