"""How `hotdesk why` looks: sentences in 80 columns, one block for all requests that went the same way.

Says only what `deployments.why` found; decides nothing.
"""

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from blocks.why_line import cost_words, seconds_words, tier_words
from deployments.status import short_path
from deployments.why import SHORT_ID, Told
from governor.decided import QUOTED, Served, cost_of
from governor.state.models import Decision

WIDTH = 80
MARGIN, HEAD = "  ", 9
# What differs from one request to the next though both went the same way: figures, and the words of a model.
FIGURE = re.compile(r"\d[\d.,:]*")


def told_lines(told: Told, *, every: bool = False) -> Iterator[str]:
    """The run, then its requests, then what they took together."""
    yield from _wrapped(_run_words(told), "")
    if told.output_path or told.message:
        yield from _wrapped(_plain(short_path(told.output_path) if told.output_path else told.message or ""), MARGIN)
    if not told.requests:
        yield ""
        yield from _wrapped("It called no model.", "")
        return
    groups = [[served] for served in told.requests] if every else same_way(told.requests)
    for group in groups:
        yield ""
        yield from block(group)
    if len(groups) > 1:
        yield ""
        yield from _wrapped(f"In all: {', '.join(cost_words(cost_of(told.rows)))}.", "")


def same_way(requests: Sequence[Served]) -> list[list[Served]]:
    """Requests whose choice was the same but for its figures, together, in the order of the first of each."""
    groups: dict[Any, list[Served]] = {}
    for served in requests:
        first = served.first
        weighed = tuple((c.get("tier"), _shape(c.get("reason", ""))) for c in (*first.candidates, *first.refusals))
        choice = (first.kind, first.tier, first.model, _shape(first.reason), weighed)
        groups.setdefault((choice, first.privacy, first.quality, first.due_at), []).append(served)
    return list(groups.values())


def block(group: Sequence[Served]) -> Iterator[str]:
    """What was asked, where it went and why, what else there was, and what came of it; figures are the first's."""
    first = group[0].first
    count = f"{len(group)} x " if len(group) > 1 else ""
    yield from _wrapped(f"{count}{first.kind} -> {_where(first)}", "")
    mine = next((c for c in first.candidates if c.get("tier") == first.tier), {})
    yield from _said("because", first.reason)
    yield from _said("expected", _expected(mine))
    for candidate in first.candidates:
        if candidate.get("tier") != first.tier:
            yield from _said("else", other_words(candidate))
    for refusal in first.refusals:
        yield from _said("not", f"{refusal.get('tier')}: {refusal.get('reason')}")
    yield from _said("asked", _terms(first))
    for words, number in _came_of_it(group):
        yield from _said("then", f"{number} x {words}" if len(group) > 1 else words)
    cost = cost_of([call for served in group for call in served.calls])
    tokens = f"{cost.tokens_in} tokens read, {cost.tokens_out} written"
    yield from _said("took", ", ".join([tokens, *cost_words(cost)]))


def _run_words(told: Told) -> str:
    name = f", run {told.flow_run_id[:SHORT_ID]}" if told.flow_run_id else ""
    lasted = f" after {seconds_words((told.ended_at - told.started_at).total_seconds())}" if told.ended_at else ""
    state = f", {told.state.replace('_', ' ')}{lasted}" if told.state else ""
    return f"{told.agent}{name}, {told.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC{state}"


def _where(row: Decision) -> str:
    """Tier, model, engine and line; what the row does not say is left out."""
    about = ", ".join(filter(None, (row.engine, f"line {row.line}" if row.line and row.line != "cloud" else "")))
    return f"{tier_words(row)} ({about})"


def _expected(candidate: dict[str, Any]) -> str:
    """How soon and how surely; '' where it was not recorded."""
    if "chance" not in candidate:
        return ""
    wait, work = (float(candidate.get(name) or 0.0) for name in ("wait_seconds", "work_seconds"))
    price = float(candidate.get("price_seconds") or 0.0)
    return (
        f"{seconds_words(wait)} until it begins, {seconds_words(work)} to the answer,"
        f" passes its checks {float(candidate['chance']):.0%} of the time"
        + (f", weighed as {seconds_words(price)} longer" if price else "")
    )


def other_words(candidate: dict[str, Any]) -> str:
    """A candidate that was not chosen, as its row has it: why it would do, how soon and how surely."""
    tier, model = str(candidate.get("tier")), str(candidate.get("model") or "")
    name = tier if model in ("", tier) else f"{tier} {model}"
    expected = _expected(candidate)
    return f"{name}: {candidate.get('reason')}" + (f"; {expected}" if expected else "")


def _terms(row: Decision) -> str:
    """What the agent asked for beside the work."""
    due = f"due {_clock(row.due_at)}" if row.due_at else ""
    quality = f"quality {row.quality}" if row.quality else ""
    return ", ".join(filter(None, (f"privacy {row.privacy.replace('_', ' ')}", quality, due)))


def _came_of_it(group: Sequence[Served]) -> list[tuple[str, int]]:
    """Each way that it went, with how many went so: the smooth ones first."""
    ways: Counter[str] = Counter()
    told: dict[str, str] = {}
    for served in sorted(group, key=lambda served: len(served.calls)):
        words = way_words(served)
        shape = _shape(words)
        told.setdefault(shape, words)
        ways[shape] += 1
    return [(told[shape], number) for shape, number in ways.items()]


def way_words(served: Served) -> str:
    """Every attempt with its verdict: how the request went from one model to the next."""
    words = " -> ".join(f"{call.tier}: {call.verdict}" for call in served.calls)
    return words if served.verified else f"{words} (not verified)"


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _shape(text: str) -> str:
    return FIGURE.sub("#", QUOTED.sub("'...'", text))


def _said(head: str, text: str) -> Iterator[str]:
    """One sentence behind its word; nothing for no sentence."""
    if text:
        yield from _wrapped(_plain(text), f"{MARGIN}{head:<{HEAD}}")


def _wrapped(text: str, head: str) -> Iterator[str]:
    """A path is never broken, so that it can be copied."""
    indent = " " * len(head)
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _plain(text: str) -> str:
    """In one line, and without anything that a terminal would obey: some of it a model wrote."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
