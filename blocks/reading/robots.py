"""What a site asks of programs that read it: robots.txt (RFC 9309), remembered for an hour in this process."""

import time
from urllib.robotparser import RobotFileParser

import httpx

from blocks.reading.guarded_http import TROUBLE, answer_to, body, unfit, user_agent
from blocks.reading.guarded_network import Budget
from governor.errors import BadInput

# RFC 9309, 2.5: at least 500 KiB of it have to be read. 2.4: it may be kept for a day.
MOST_BYTES = 512 * 1024
KEPT_SECONDS = 3600.0
MOST_SITES = 256
SECONDS = 10.0
_known: dict[str, tuple[RobotFileParser, float]] = {}


def ask_robots(url: httpx.URL, seconds: float = SECONDS) -> None:
    """Pass when the site lets us read this address; it has so many seconds to say so.

    Raises:
        BadInput: it does not, or cannot say so now: a site in trouble is left alone (RFC 9309, 2.3.1.4).
    """
    site = str(url.copy_with(raw_path=b"/robots.txt"))
    rules, read_at = _known.get(site, (None, 0.0))
    if rules is None or time.monotonic() - read_at > KEPT_SECONDS:
        rules = _read(site, str(url), seconds)
        while len(_known) >= MOST_SITES:
            _known.pop(next(iter(_known)))
        _known[site] = (rules, time.monotonic())
    if not rules.can_fetch(user_agent(), str(url)):
        raise unfit(str(url), "the site's robots.txt asks programs not to read it", "Ask the site, or leave it out.")


def _read(site: str, wanted: str, seconds: float) -> RobotFileParser:
    rules = RobotFileParser()
    try:
        with answer_to("GET", site, Budget(seconds, 2 * MOST_BYTES)) as (answer, _):
            if answer.status >= 500:
                raise unfit(wanted, f"its site is in trouble (robots.txt: HTTP {answer.status})", "Try again later.")
            text = body(answer, MOST_BYTES)[0] if answer.status < 400 else b""
    except (*TROUBLE, ValueError) as error:
        why = f"its site does not say what robots may read ({type(error).__name__}: {error})"
        raise unfit(wanted, why, "Try again later.") from error
    except BadInput as error:
        raise unfit(wanted, error.happened.rstrip("."), error.remedy) from error
    rules.parse(text.decode("utf-8", "replace").lstrip("\ufeff").splitlines())
    return rules
