"""How much texts have in common, by their words (tf-idf, cosine). Pure.

No model: what stands in for vectors where a machine has none, and what groups texts before a model sees them.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping

WORD = re.compile(r"[^\W\d_]{3,}")
# Words that say nothing about what a text is about. English and German, which the samples are in.
COMMON_WORDS = """
the and for are was were with that this from you your our not but can has have had how what when where who why will
would should could may does did been being they them their there here then than only also one two its into out off over
under after before more most very all any some each which while about again just get got please hello dear team thanks
thank kind regards still want need like know sure yes
der die das und ist sind für mit von auf den dem des ein eine einen einer nicht auch bitte mir wir ich sie
"""
COMMON = frozenset(COMMON_WORDS.split())


def words(text: str) -> list[str]:
    """Words that say something, in lower case, the plainest plural taken off."""
    found = (word.lower() for word in WORD.findall(text))
    return [_singular(word) for word in found if word not in COMMON]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 4 and word.endswith("s") and not word.endswith("ss") else word


class Likeness:
    """Texts that can be compared with each other."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        counts = {name: Counter(words(text)) for name, text in texts.items()}
        seen = Counter(word for count in counts.values() for word in count)
        self._weights = {word: math.log((1 + len(texts)) / (1 + number)) + 1 for word, number in seen.items()}
        self._vectors = {name: self._vector(count) for name, count in counts.items()}
        self._with: dict[str, list[str]] = {}
        for name, vector in self._vectors.items():
            for word in vector:
                self._with.setdefault(word, []).append(name)

    def _vector(self, count: Counter[str]) -> dict[str, float]:
        raw = {word: (1 + math.log(number)) * self._weights[word] for word, number in count.items()}
        length = math.sqrt(sum(value * value for value in raw.values()))
        return {word: value / length for word, value in raw.items()} if length else {}

    def like(self, name: str, *, least: float = 0.0) -> list[tuple[float, str]]:
        """(cosine, other), most alike first, those above `least`."""
        scores: Counter[str] = Counter()
        for word, value in self._vectors[name].items():
            for other in self._with[word]:
                scores[other] += value * self._vectors[other][word]  # type: ignore[assignment]  # a sum of floats
        pairs = ((round(float(score), 6), other) for other, score in scores.items() if other != name)
        return sorted((pair for pair in pairs if pair[0] > least), key=lambda pair: (-pair[0], pair[1]))

    def words_of(self, names: Iterable[str], most: int) -> list[str]:
        """What these texts share: the words with the most weight in them together."""
        total: Counter[str] = Counter()
        for name in names:
            total.update({word: round(value, 6) for word, value in self._vectors[name].items()})  # type: ignore[arg-type]
        return [word for word, _ in sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))][:most]
