"""One thing to work on, whatever it was read from."""

import hashlib
from datetime import datetime

from pydantic import BaseModel, ConfigDict


class Item(BaseModel):
    """A feed entry, a message, a document, a row.

    Attributes:
        id: its name at the source, the same at every reading.
        text: what stands in it, plain but not fenced. url: where it can be seen, '' where nowhere.
        at: when it was written, None where the source does not say.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    title: str
    text: str
    url: str = ""
    at: datetime | None = None

    @property
    def sha256(self) -> str:
        """Of what it says: an item with the same one needs no second look."""
        return hashlib.sha256("\0".join((self.id, self.title, self.text, self.url)).encode()).hexdigest()
