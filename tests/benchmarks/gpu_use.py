"""One use of a model over HTTP, streamed: when the first token came and how fast the rest."""

import http.client
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PROMPT = "Say something long about the desk that fifty people share."
# Long enough for several pieces of 512 tokens, short enough for the smallest context: a word is 1 to 4 tokens here.
WORDS = ["desk", "line", "seat", "lease", "model", "night", "morning", "paper", "letter", "number", "reason", "place"]
LONGEST_WORDS = 400
# A 7B on the CPU answers within this even on a busy machine.
ASK_SECONDS = 60.0


class Broken(Exception):
    """The stream ended before its end: an engine that died, or an error in its words."""


@dataclass(frozen=True)
class Answer:
    """When the first token was there (monotonic seconds), and tokens per second as the engine counts."""

    first_token_s: float
    tokens: int
    tokens_per_second: float


def random_prompt(dice: random.Random) -> str:
    """No two alike, so that no engine answers from what it kept; every fourth one takes several pieces to read."""
    count = dice.randint(200, LONGEST_WORDS) if dice.random() < 0.25 else dice.randint(8, 60)
    return " ".join(dice.choice(WORDS) for _ in range(count))


def ask(address: str, api_key: str | None, model: str, *, tokens: int, prompt: str = PROMPT) -> Answer:
    """Generate so many tokens. Raises Broken."""
    first_s, timings = 0.0, None
    try:
        for piece in _stream(address, api_key, model, tokens, prompt):
            choices = piece.get("choices") or [{}]
            if not first_s and (choices[0].get("delta") or {}).get("content"):
                first_s = time.monotonic()
            if "error" in piece:
                raise Broken(str(piece["error"])[:200])
            timings = piece.get("timings") or timings
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Broken(f"{type(error).__name__}: {error}"[:200]) from error
    if timings is None:
        raise Broken("the stream ended early")
    return Answer(first_s or time.monotonic(), timings["predicted_n"], timings["predicted_per_second"])


def _stream(address: str, api_key: str | None, model: str, tokens: int, prompt: str) -> Iterator[dict[str, Any]]:
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=ASK_SECONDS)
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "ignore_eos": True,  # the weights are noise: the end may come at any token
        "stream": True,
        "timings_per_token": True,
        "seed": 1,
    }
    try:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {api_key}"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise Broken(f"status {answer.status}: {answer.read(300)!r}")
        for line in answer:
            if line.startswith(b"data: {"):
                yield json.loads(line[6:])
            elif line.startswith(b"error"):
                raise Broken(repr(line[:200]))
    finally:
        connection.close()
