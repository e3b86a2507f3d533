"""What real models say to the fleet's questions: each is asked once, by the engine of production, and heard again.

`Said` stands in the place of `inference.complete`, so everything around it is production's own. The n-th time that a
question is put to a model in one pass, it gets that model's n-th draw, whichever pass it is: rounds and ways differ in
what they ask and not in luck. Seconds are those of the first hearing.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from governor import inference
from governor.errors import ModelFailed
from governor.inference import Completion
from governor.policy.requests import ModelRequest
from tests.benchmarks.report import say

Key = tuple[str, str, int]
EVERY = 25


@dataclass
class Said:
    """Answers by model, question and draw.

    Attributes:
        fresh: how many of them were had from an engine in this run, `seconds` how long that took.
    """

    answers: dict[Key, Completion] = field(default_factory=dict)
    fresh: int = 0
    seconds: float = 0.0
    _drawn: Counter[tuple[str, str]] = field(default_factory=Counter)
    _ask: Callable[..., Completion] = inference.complete

    def new_pass(self) -> None:
        """From here on every question is put for the first time again."""
        self._drawn.clear()

    def complete(self, request: ModelRequest, parameters: dict[str, Any], **limits: Any) -> Completion:
        """As `inference.complete`: what was heard before at once, else asked of the engine.

        Raises:
            What `inference.complete` raises.
        """
        asked = (parameters["model"], question_of(request))
        key = (*asked, self._drawn[asked])
        self._drawn[asked] += 1
        if key not in self.answers:
            self.answers[key] = self._ask(request, parameters, **limits)
            self.fresh += 1
            self.seconds += self.answers[key].seconds
            if self.fresh % EVERY == 0:
                say(f"{self.fresh} answers heard, {self.seconds / self.fresh:.2f} s each")
        return self.answers[key]

    def keep(self, file: Path) -> None:
        """Write all answers down."""
        file.write_text(json.dumps([[key, asdict(answer)] for key, answer in self.answers.items()]))


def heard_before(file: Path | None) -> Said:
    """The answers of an earlier run; none without a file."""
    if file is None or not file.exists():
        return Said()
    kept = json.loads(file.read_text())
    return Said({(model, question, draw): Completion(**said) for (model, question, draw), said in kept})


def question_of(request: ModelRequest) -> str:
    """What tells one question from another for a model: its words and its constraint."""
    return "\n".join((request.system or "", request.text, *(request.choices or ())))


def drawn(said: Said, request: ModelRequest, parameters: dict[str, Any], limits: dict[str, Any]) -> Completion | None:
    """The next draw, None where the model gave no answer at all."""
    try:
        return said.complete(request, parameters, **limits)
    except ModelFailed as error:
        say(f"no answer: {error.happened}")
        return None
