"""Pages and feeds of the web, bounded in size and time."""

import httpx

from governor.errors import BadInput

FETCH_SECONDS = 20.0


def fetch(address: str, *, max_bytes: int) -> bytes:
    """What an http(s) address gives, at most `max_bytes` of it.

    Raises:
        BadInput: it cannot be had.
    """
    try:
        with httpx.stream("GET", address, timeout=FETCH_SECONDS, follow_redirects=True) as answer:
            answer.raise_for_status()
            read = b""
            for chunk in answer.iter_bytes():
                read += chunk
                if len(read) > max_bytes:
                    break
            return read[:max_bytes]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BadInput(
            f"The address {address} cannot be read: {type(error).__name__}: {error}.",
            means="The agent wrote nothing; its earlier outputs are untouched.",
            remedy="Correct `source` in prefect.yaml or in the run's form.",
            source=address,
        ) from error
