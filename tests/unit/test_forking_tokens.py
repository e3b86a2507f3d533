"""Requests of one client that begin at once share one token against forged requests."""

import asyncio
from types import SimpleNamespace
from typing import Any

from deployments.forking.known import one_token


class FakeInner:
    """FAKE: Prefect's http client, which asks whenever it has none."""

    def __init__(self) -> None:
        self.csrf_token: str | None = None
        self.asked = 0

    async def _add_csrf_headers(self, request: dict[str, str]) -> None:
        if self.csrf_token is None:
            self.asked += 1
            await asyncio.sleep(0)
            self.csrf_token = f"token {self.asked}"
        request["token"] = self.csrf_token


def test_fifty_first_requests_ask_for_one_token():
    inner = FakeInner()

    async def main() -> list[dict[str, str]]:
        one_token(SimpleNamespace(_client=inner))  # type: ignore[arg-type]  # all it uses
        requests: list[dict[str, Any]] = [{} for _ in range(50)]
        await asyncio.gather(*(inner._add_csrf_headers(request) for request in requests))
        return requests

    assert asyncio.run(main()) == [{"token": "token 1"}] * 50
    assert inner.asked == 1
