"""How right the fleet is where right is known: triage, extract and log_watch against labelled samples.

    python -m tests.benchmarks.fleet_quality [--limit N] [--larger 0.5b|1.5b|none] [--works triage,extract]

For each kind of work: the flow's rules without any model; each model's own choices, verified or not; and what the
agent delivers, which is the model's choice where it passed the rules and the rules' own where it did not. Models are
asked as the router asks them, once each. Of log_watch also: whether records of one event fall into one cluster.
"""

import argparse
import os
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tests.benchmarks.machine import describe
from tests.benchmarks.report import Report, end_cleanly_on_sigterm, say
from tests.benchmarks.server import temporary_home

NONE = "none"
WORKS = ("triage", "extract", "log_watch")
LEAST_ITEMS = 200
DIGITS = 3


def main() -> None:
    """Ask, compare, print."""
    arguments = _arguments()
    end_cleanly_on_sigterm()
    os.environ.pop("PREFECT_API_URL", None)  # nothing here asks a server
    report = Report("fleet_quality", describe())
    with temporary_home() as where:
        _measure(arguments, where.weights, report)
    report.emit()


def _measure(arguments: argparse.Namespace, weights: Path, report: Report) -> None:
    # Prefect, which the flows import, reads its settings once: after the state folder stands.
    from governor import inference
    from tests.benchmarks.fleet_desks import models, seated
    from tests.benchmarks.fleet_said import heard_before
    from tests.benchmarks.quality_items import labelled

    tiers = models(arguments.larger, weights)
    report.machine["models"] = {tier: one.model for tier, one in tiers.items()}
    report.machine["limit"] = arguments.limit
    said = heard_before(arguments.said)
    inference.warm_up()
    with seated(tiers, said) as told:
        for work in arguments.works.split(","):
            known = labelled(work)
            _one_work(report, work, known, arguments.limit, {tier: (said, told[tier]) for tier in sorted(told)})
    if arguments.said:
        said.keep(arguments.said)
    report.ours["log_watch"] = report.ours.get("log_watch", {}) | {"clusters": clusters()}


def _one_work(report: Report, work: str, known: Sequence[Any], limit: int | None, models: dict[str, Any]) -> None:
    """All figures of one kind of work: its rules, each model alone, what the agent delivers with each."""
    taken = known if limit is None else random.Random(1).sample(list(known), min(limit, len(known)))
    labels = sum(len(item.truth) for item in known)
    rules = share(taken, [item.by_rules for item in taken])
    report.baseline[work] = {
        "labels": labels,
        "scored": sum(len(item.truth) for item in taken),
        "rules_accuracy": rules,
    }
    report.ours[work] = {}
    report.expect(f"{work}: labels", f"at least {LEAST_ITEMS}", {"labels": labels}, labels >= LEAST_ITEMS)
    for tier, (said, parameters) in models.items():
        say(f"{work}, {tier}: {len(taken)} items")
        figures = with_model(said, parameters, taken)
        report.ours[work][tier] = figures
        points = round(100 * (figures["delivered_accuracy"] - (rules or 0)), 1)
        report.ratio[f"{work}_{tier}"] = {"delivered_points_over_rules": points}
        report.expect(f"{work}: delivered with {tier}", "no worse than rules alone", {"points": points}, points >= 0)


def with_model(said: Any, parameters: dict[str, Any], items: Sequence[Any]) -> dict[str, Any]:
    """What one model, asked once each, gets right by itself and in the agent's hands. Values nobody asks are rules'."""
    from governor.answers import judged
    from governor.serving import call_seconds
    from tests.benchmarks.fleet_said import drawn

    alone, delivered, verified, seconds = [], [], [], []
    said.new_pass()
    for item in items:
        if item.request is None:
            alone.append(item.by_rules)
            delivered.append(item.by_rules)
            continue
        answer = drawn(said, item.request, parameters, {"deadline_seconds": call_seconds(item.request)})
        cut = answer is not None and answer.finish_reason == "length"
        _, data, problems = judged(item.request, answer.text, cut=cut) if answer else ("", None, ["no answer"])
        values = {} if data is None else item.read(data)
        alone.append(values)
        delivered.append(item.by_rules if problems else item.by_rules | values)
        verified.append(not problems)
        seconds.append(answer.seconds if answer else 0.0)
    return {
        "model_accuracy": share(items, alone),
        "delivered_accuracy": share(items, delivered),
        "calls": len(verified),
        "verified_at_first_try": round(fmean(verified), DIGITS) if verified else None,
        "seconds_per_call": round(fmean(seconds), DIGITS) if seconds else None,
    }


def share(items: Sequence[Any], values: Sequence[dict[str, str]]) -> float | None:
    """Of all labels, those that the values meet."""
    labels = sum(len(item.truth) for item in items)
    right = sum(item.right(told) for item, told in zip(items, values, strict=True))
    return round(right / labels, DIGITS) if labels else None


def clusters() -> dict[str, Any]:
    """Of all pairs of labelled records: how many that are one event share a cluster, and the reverse."""
    from itertools import combinations

    from blocks.checking.clusters import message_of, template_of
    from blocks.reading.logs import records
    from tests.benchmarks.quality_items import rows_of

    told = []
    for row in rows_of("log_watch"):
        [record] = records(row["record"].split("\n"))
        told.append((row["agent"], row["event"], template_of(message_of(record)), record.level == row["level"]))
    pairs = [(a[1] == b[1], a[2] == b[2]) for a, b in combinations(told, 2) if a[0] == b[0]]
    together = sum(event and cluster for event, cluster in pairs)
    return {
        "records": len(told),
        "pairs_of_one_event_in_one_cluster": round(together / sum(event for event, _ in pairs), DIGITS),
        "pairs_of_one_cluster_of_one_event": round(together / sum(cluster for _, cluster in pairs), DIGITS),
        "levels_right": round(fmean(right for *_, right in told), DIGITS),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--limit", type=int, help="items of each kind of work, drawn by a seed; all without it")
    parser.add_argument("--works", default=",".join(WORKS), help="kinds of work, with commas between")
    parser.add_argument("--larger", choices=("1.5b", "0.5b", NONE), default=os.environ.get("HOTDESK_LARGER", NONE))
    parser.add_argument("--said", type=Path, help="answers of an earlier run: read if it is there, written at the end")
    return parser.parse_args()


if __name__ == "__main__":
    main()
