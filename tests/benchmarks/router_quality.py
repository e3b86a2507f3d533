"""Does this prompt need the larger model? The gain table, reading the prompt, and reading the small model's answer.

    python -m tests.benchmarks.router_quality [--data FILE] [--seeds 4]

7,692 real prompts with whether a weak and a strong model answered each rightly (`dev.csv.gz` of the folder with the
routing data; it is no part of this repository). Five folds; everything is learned on the other four, one outcome after
the other, by the code that runs in production; the subject plays the agent's part. MMLU: who is sent on is decided
before anybody answers. GSM8K: the weak model answers always, and its answer is read; what is sent on costs twice.
"""

import argparse
import csv
import gzip
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from governor.inference import QUIET_LITELLM
from governor.policy import learner
from governor.policy.gains import NEUTRAL, Gains, Tally, counted
from governor.policy.signals import answer_signals
from governor.policy.text_features import Features, features
from tests.benchmarks.machine import describe
from tests.benchmarks.report import Report, say
from tests.benchmarks.routing_scores import apgr, folds, worst_decile_points

DEFAULT = Path("../shared/data/routing/dev.csv.gz")
PARTS = 5
# The marks that stand beside the data; the table's and the ridge's were measured on MMLU, the cascade's on GSM8K.
MARKS = {"table_mmlu": 0.68, "cascade_gsm8k": 0.71}
AIMS = {"mmlu": 0.70, "gsm8k_cascade": 0.75}
DECILE_POINTS = 3.0


@dataclass(frozen=True)
class Row:
    """One prompt and who was right about it (0 or 1)."""

    agent: str
    prompt: str
    weak: int
    strong: int
    weak_answer: str

    @property
    def gain(self) -> int:
        return self.strong - self.weak


class Model:
    """One model as production knows it: tallies by agent and kind, and a predictor on top of them."""

    def __init__(self) -> None:
        self.weights = learner.Weights()
        self.kind, self.agents = Tally(), dict[str, Tally]()

    def counted(self, agent: str) -> float:
        """What counting says."""
        known = Gains(of_kind={"m": self.kind}, of_agent={"m": self.agents.get(agent, Tally())})
        return counted(known, "m", NEUTRAL)

    def predicted(self, agent: str, seen: Features) -> float:
        """What reading says on top of it."""
        return learner.predict(self.weights, seen, self.counted(agent))

    def learn(self, agent: str, seen: Features, passed: int) -> None:
        """One outcome."""
        learner.learn(self.weights, seen, self.counted(agent), verified=bool(passed))
        self.kind = _more(self.kind, passed)
        self.agents[agent] = _more(self.agents.get(agent, Tally()), passed)


def read_rows(path: Path) -> dict[str, list[Row]]:
    """The rows by set."""
    rows: dict[str, list[Row]] = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            right = int(row["weak_correct"]), int(row["strong_correct"])
            one = Row(row["task_type"], row["prompt"], *right, row["weak_answer"] or "")
            rows.setdefault(row["set"], []).append(one)
    return rows


def before_the_answer(rows: Sequence[Row], seed: int) -> dict[str, list[float]]:
    """By the table, and by reading the prompt: predicted gain of each row, from the other folds."""
    seen = [features(row.prompt) for row in rows]
    table, read = [0.0] * len(rows), [0.0] * len(rows)
    for learned, scored in folds(len(rows), PARTS, seed):
        weak, strong = Model(), Model()
        for index in learned:
            row = rows[index]
            weak.learn(row.agent, seen[index], row.weak)
            strong.learn(row.agent, seen[index], row.strong)
        for index in scored:
            agent = rows[index].agent
            table[index] = strong.counted(agent) - weak.counted(agent)
            read[index] = strong.predicted(agent, seen[index]) - weak.predicted(agent, seen[index])
    return {"table": table, "prompt": read}


Looks = Callable[[Row], Features]
LOOKS: dict[str, Looks] = {
    "signs of the answer": lambda row: features("", answer_signals(row.prompt, row.weak_answer)),
    "signs, and the words of the prompt": lambda row: features(row.prompt, answer_signals(row.prompt, row.weak_answer)),
    "signs, and the words of the answer": lambda row: features(
        row.weak_answer, answer_signals(row.prompt, row.weak_answer)
    ),
}


def after_the_answer(rows: Sequence[Row], seed: int) -> tuple[list[float], dict[str, int]]:
    """By the small model's answer: chance that it is wrong. What is looked at is chosen inside the learned folds."""
    seen = {name: [look(row) for row in rows] for name, look in LOOKS.items()}
    doubt, chosen = [0.0] * len(rows), dict.fromkeys(LOOKS, 0)
    for learned, scored in folds(len(rows), PARTS, seed):
        models = {name: Model() for name in LOOKS}
        for name, model in models.items():
            for index in learned:
                model.learn(rows[index].agent, seen[name][index], rows[index].weak)
        best = min(models, key=lambda name: models[name].weights.loss)
        chosen[best] += 1
        for index in scored:
            doubt[index] = 1 - models[best].predicted(rows[index].agent, seen[best][index])
    return doubt, chosen


def by_fold(scores: Sequence[float], rows: Sequence[Row], seed: int) -> float:
    """The mean of the folds, each by what there is to gain in it: forecasts of different folds are not compared."""
    area = 0.0
    for _, scored in folds(len(rows), PARTS, seed):
        gains = [rows[index].gain for index in scored]
        area += apgr([scores[index] for index in scored], gains) * sum(gains)
    return area / sum(row.gain for row in rows)


def baselines(rows: Sequence[Row], seed: int) -> dict[str, float]:
    """Random, the longer first, litellm's complexity score, and who knows the weak model's every answer."""
    os.environ.update(QUIET_LITELLM)
    from litellm.router import Router
    from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter

    scorer = ComplexityRouter("router", Router(model_list=[]), default_model="none")
    random = Random(seed)
    orders = {
        "random": [random.random() for _ in rows],
        "prompt_length": [float(len(row.prompt)) for row in rows],
        "litellm_complexity": [scorer.classify(row.prompt)[1] for row in rows],
        "perfect_verifier": [float(1 - row.weak) for row in rows],
    }
    return {name: round(by_fold(scores, rows, seed), 4) for name, scores in orders.items()}


def measure(report: Report, rows: dict[str, list[Row]], seeds: int) -> None:
    """All of it, once for each seed; figures are means over them."""
    mmlu, gsm8k = rows["mmlu"], rows["gsm8k"]
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        before = before_the_answer(mmlu, seed)
        say(f"seed {seed}: MMLU read")
        doubt, chosen = after_the_answer(gsm8k, seed)
        say(f"seed {seed}: GSM8K read; looked at: {', '.join(name for name, times in chosen.items() if times)}")
        off, chance = worst_decile_points(before["prompt"], [row.gain for row in mmlu])
        figures = {
            "table_mmlu": by_fold(before["table"], mmlu, seed),
            "prompt_mmlu": by_fold(before["prompt"], mmlu, seed),
            "cascade_gsm8k": by_fold(doubt, gsm8k, seed),
            "worst_decile_points": off,
            "decile_by_chance_points": chance,
        }
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    report.ours = {f"{name}_apgr" if "points" not in name else name: _mean(values) for name, values in found.items()}
    report.ours |= {f"{name}_by_seed": [round(value, 4) for value in values] for name, values in found.items()}
    report.baseline = {f"mmlu_{name}_apgr": value for name, value in baselines(mmlu, 0).items()}
    report.baseline |= {f"gsm8k_{name}_apgr": value for name, value in baselines(gsm8k, 0).items()}
    _judge(report)


def _judge(report: Report) -> None:
    ours = report.ours
    reach = (
        ("the table's known mark on MMLU", MARKS["table_mmlu"], "table_mmlu_apgr"),
        ("the cascade's known mark on GSM8K", MARKS["cascade_gsm8k"], "cascade_gsm8k_apgr"),
        ("MMLU 0.70", AIMS["mmlu"], "prompt_mmlu_apgr"),
        ("GSM8K cascade 0.75", AIMS["gsm8k_cascade"], "cascade_gsm8k_apgr"),
    )
    for name, least, key in reach:
        report.expect(name, f"APGR >= {least}", {key: ours[key]}, ours[key] >= least)
    off = {key: ours[key] for key in ("worst_decile_points", "decile_by_chance_points")}
    report.expect("calibrated", f"every decile within {DECILE_POINTS:.0f} points", off, off["worst_decile_points"] <= 3)
    base = report.baseline
    report.ratio = {
        "mmlu_over_litellm_complexity": round(ours["prompt_mmlu_apgr"] / base["mmlu_litellm_complexity_apgr"], 3),
        "gsm8k_over_litellm_complexity": round(ours["cascade_gsm8k_apgr"] / base["gsm8k_litellm_complexity_apgr"], 3),
    }


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


def _more(tally: Tally, passed: int) -> Tally:
    return Tally(tried=tally.tried + 1, verified=tally.verified + passed)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HOTDESK_ROUTING_DATA", DEFAULT)))
    parser.add_argument("--seeds", type=int, default=4, help="different splits into folds")
    wishes = parser.parse_args()
    if not wishes.data.exists():
        sys.exit(f"There is no {wishes.data}. Say where the routing data is: --data FILE, or HOTDESK_ROUTING_DATA.")
    report = Report("router_quality", describe())
    measure(report, read_rows(wishes.data), wishes.seeds)
    report.emit()


if __name__ == "__main__":
    main()
