"""Outside text is data: made plain before it enters a prompt, and fenced there. Pure."""

import re
from html.parser import HTMLParser

# `<|im_start|>` and its kin are single tokens to the model: in somebody's mail they would end our prompt.
SPECIAL_TOKENS = re.compile(r"<\|[^|>]{0,40}\|>")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e]")
# The lines around outside text in a prompt; text that holds them loses them.
FENCE_BEGIN, FENCE_END = "[text]", "[end of text]"


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def as_data(text: str, limit: int = 1200) -> str:
    """Outside text for a prompt: one paragraph, no markup, no special tokens, at most `limit` characters."""
    parser = _Text()
    parser.feed(text)
    parser.close()
    plain = SPECIAL_TOKENS.sub(" ", CONTROL.sub(" ", " ".join(parser.parts)))
    return " ".join(plain.split())[:limit]


def fence(text: str) -> str:
    """The text between two lines that it cannot contain: what a prompt says about it ends there, whatever it says."""
    inside = text.replace(FENCE_BEGIN, " ").replace(FENCE_END, " ")
    return f"{FENCE_BEGIN}\n{inside}\n{FENCE_END}"
