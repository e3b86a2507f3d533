"""Outside text cut so that a request fits the smallest context that a model here has. Pure.

How many tokens a text takes is `governor.policy.tokens`'; whether a request fits a certain model is the router's.
"""

from collections.abc import Callable

from blocks.untrusted import cut
from governor.policy.requests import ModelRequest
from governor.policy.tokens import estimated_tokens, needed_tokens

# The context of the shipped demo model.
CONTEXT_TOKENS = 2048
# What an agent shows of one text at most, where code chooses how much: it leaves room for the prompt's own words.
SHOWN_TOKENS = 600
# Less than this of a text says nothing: who asks a longer question, or for a longer answer, needs a larger model.
LEAST_TEXT_TOKENS = 256


def within_tokens(text: str, most: int = SHOWN_TOKENS) -> str:
    """As much of the beginning of a text as takes at most so many tokens, by the estimate; no number is cut in two."""
    if estimated_tokens(text) <= most:
        return text
    least, longest = 0, len(text)
    while least < longest:
        middle = (least + longest + 1) // 2
        if estimated_tokens(text[:middle]) <= most:
            least = middle
        else:
            longest = middle - 1
    return cut(text, least)


def fitted(build: Callable[[str], ModelRequest], text: str) -> ModelRequest:
    """The request about a text, or about its beginning, so that prompt and answer fit `CONTEXT_TOKENS`."""
    request, most = build(text), estimated_tokens(text)
    while (over := needed_tokens(request) - CONTEXT_TOKENS) > 0 and most > LEAST_TEXT_TOKENS:
        most = max(LEAST_TEXT_TOKENS, most - over)
        request = build(within_tokens(text, most))
    return request
