"""What routing adds on the fleet's own labelled samples, with the models at hand.

    python -m tests.benchmarks.fleet_routing [--rounds 2] [--splits 1] [--items N] [--larger 0.5b|1.5b|none] [--told]

Ways, on the same questions and the same answers of the same real models: always the small model, once; always the
larger one, once; the router as the flows ask it, taught and untaught; where two answers must agree on a label; where
agents wish for good quality; a coin between the two models at the router's cost. Nothing is a target: the figures are
what they are.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import describe
from tests.benchmarks.report import Report, end_cleanly_on_sigterm, say
from tests.benchmarks.server import temporary_home

# By the model card.
AGREE = 2
NONE = "none"


def main() -> None:
    """Fetch, ask, teach, score, print."""
    arguments = _arguments()
    end_cleanly_on_sigterm()
    os.environ.pop("PREFECT_API_URL", None)  # nothing here asks a server
    report = Report("fleet_routing", describe())
    with temporary_home() as where:
        _measure(arguments, where.weights, report)
    report.emit()


def _measure(arguments: argparse.Namespace, weights: Path, report: Report) -> None:
    # Prefect, which the flows import, reads its settings once: after the state folder stands.
    from governor import inference
    from tests.benchmarks import fleet_scores, fleet_ways
    from tests.benchmarks.fleet_desks import models, seated
    from tests.benchmarks.fleet_said import heard_before

    tiers = models(arguments.larger, weights)
    questions = _questions(arguments.items, told=arguments.told)
    said = heard_before(arguments.said)
    ways: dict[str, Sequence[fleet_ways.Score]] = {}
    inference.warm_up()
    with seated(tiers, said) as told:
        for tier, name in (("tiny", "small_once"), ("heavy", "larger_once")):
            if tier in told:
                say(f"{name}: {len(questions)} questions")
                ways[name] = fleet_ways.once(said, tier, told[tier], questions)
        for name, plan in _plans(arguments).items():
            say(f"{name}: {plan.rounds} rounds, {plan.splits} splits of {plan.folds} parts")
            ways[name] = fleet_ways.routed(said, tiers, questions, plan)
    if arguments.said:
        said.keep(arguments.said)
    figures = {name: fleet_scores.figures(scores) for name, scores in ways.items()}
    _fill(report, ways, figures)
    report.machine |= {"questions": len(questions), "answers_heard": said.fresh, "labels_told": arguments.told}
    report.machine["models"] = {tier: one.model for tier, one in tiers.items()}
    if "heavy" not in tiers:
        report.machine["larger"] = "none at hand: the router had one model to choose from"


def _plans(arguments: argparse.Namespace) -> dict[str, Any]:
    """The router as it is asked today, before it learned anything, and as agents might ask it."""
    from governor.policy.requests import Quality
    from tests.benchmarks.fleet_ways import Plan

    taught = Plan(arguments.rounds, arguments.splits, arguments.seed)
    return {
        "routed": taught,
        "routed_untaught": replace(taught, rounds=0),
        "routed_agreeing": replace(taught, votes=AGREE),
        "routed_good": replace(taught, quality=Quality.GOOD),
    }


def _fill(report: Report, ways: dict[str, Any], figures: dict[str, Any]) -> None:
    from tests.benchmarks.fleet_scores import against, at_random, by_agent, compared

    ours = [name for name in figures if name.startswith("routed")]
    once = [name for name in figures if name not in ours]
    report.ours = {name: figures[name] for name in ours} | {"by_agent": by_agent(ways)}
    report.baseline = {name: figures[name] for name in once} | {"rules": _rules(ways["small_once"])}
    for name in ours:
        over = {f"over_{other}": compared(figures[name], figures[other]) for other in once}
        for other in once:
            over[f"over_{other}"] |= against(ways[name], ways[other])
        if "larger_once" in ways:
            coin = at_random(ways["small_once"], ways["larger_once"], figures[name]["seconds_per_item"])
            report.baseline[f"coin_at_the_cost_of_{name}"] = coin
            over["over_coin"] = {"accuracy_points": round(100 * (figures[name]["accuracy"] - coin["accuracy"]), 1)}
        report.ratio[name] = over
    added = report.ratio["routed"]["over_small_once"]
    report.expect("what routing adds to the small model", "no number to reach", added, True)


def _rules(scores: Sequence[Any]) -> dict[str, Any]:
    """What the flows' own rules find without any model, where they have rules."""
    ruled = [score.question for score in scores if score.question.by_rules is not None]
    right = [question.is_right(question.by_rules) for question in ruled]
    return {"documents": len(right), "accuracy_of_documents": round(sum(right) / len(right), 3) if right else None}


def _questions(most: int | None, *, told: bool) -> list[Any]:
    from tests.benchmarks import fleet_samples

    by_agent = groupby(fleet_samples.questions(), key=lambda question: question.agent)
    asked = [question for _, group in by_agent for question in list(group)[:most]]
    return [fleet_samples.told(question) for question in asked] if told else asked


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2, help="rounds of learning before a part is scored")
    parser.add_argument("--splits", type=int, default=1, help="ways to part the items in four")
    parser.add_argument("--items", type=int, help="of each agent, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--larger", choices=("1.5b", "0.5b", NONE), default="0.5b", help="the model beside the small one"
    )
    parser.add_argument("--told", action="store_true", help="name the labels in the prompt, not in the grammar alone")
    parser.add_argument("--said", type=Path, help="answers of an earlier run: read if it is there, written at the end")
    return parser.parse_args()


if __name__ == "__main__":
    main()
