"""Records with the same cause as one cluster: its template, its count, and what became of it since the last run. Pure.

Counts are made here and nowhere else; a model words a cluster, it never counts one.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from blocks.reading.logs import INFO, Record
from blocks.untrusted import seen

LEVELS = ("critical", "error", "warning", INFO)
TEMPLATE_CHARACTERS, EXAMPLE_CHARACTERS = 240, 500
ID_CHARACTERS = 8
# Three times the share of the lines, and not by a handful: less is a busy day.
MUCH_MORE, LEAST_MORE = 3.0, 5

STAMP = re.compile(
    r"^(?:<[0-9]{1,3}>)?\[?(?:[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,]{5,15}(?:Z|[+-][0-9:]{4,6})?"
    r"|[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}|[0-9:]{8}(?:[.,][0-9]+)?)\]?\s+"
)
ACCESS = re.compile(r'^\S+ \S+ \S+ \[[^\]]{10,40}\] "([A-Z]{3,10}) (\S+)[^"]*" ([0-9]{3}) ')
# What differs between two records of the same cause, the widest forms first.
VARIABLE = re.compile(
    r"""(?<!\w)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}  # a UUID
    |"[^"\n]{0,200}"|(?<!\w)'[^'\n]{0,200}'                                 # quoted
    |(?<!\w)(?:0x[0-9a-f]+|(?=[a-f]*[0-9])[0-9a-f]{6,})(?!\w)               # hexadecimal ids
    |(?<!\w)(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{1,4}(?!\w)                      # IPv6
    # numbers, dates, IPv4 with a port; but not the status of an access log
    |(?<!answered\ )(?<!answered\ [0-9])(?<!answered\ [0-9]{2})[0-9]+(?:[.,:/-][0-9]+)*
    """,
    re.IGNORECASE | re.VERBOSE,
)
QUERY = re.compile(r"=[^&\s]*")
MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+")
FRAME = re.compile(r'^(?:File "|at )')
RAISED = re.compile(r"^(?:Caused by: )?[\w.$]+(?:Error|Exception|Exit|Interrupt|Warning)\b")


class Trend(StrEnum):
    """What became of a cluster since the run before."""

    NEW = "new"
    MORE = "much more"
    SAME = ""
    GONE = "gone"


@dataclass(frozen=True)
class Cluster:
    """Records of one template. `id`: of the template, the same at every run. `before`: its count then."""

    id: str
    template: str
    count: int
    example: str
    level: str
    before: int | None = None
    trend: Trend = Trend.SAME

    @property
    def rank(self) -> tuple[int, int, str]:
        """What to look at first: by level, then by count."""
        return LEVELS.index(self.level), -self.count, self.id


def message_of(record: Record) -> str:
    """What a record says: without its time, an access log without who asked, a trace as its cause and last frame."""
    access = ACCESS.match(record.text)
    if access:
        return f"{access[1]} {QUERY.sub('=#', access[2])} answered {access[3]}"
    return " | ".join([STAMP.sub("", record.text, count=1).strip(), *folded(record.more)])


def folded(trace: Sequence[str]) -> list[str]:
    """Of a stack trace the last thing raised and the frame it was raised in; of other lines the first."""
    raised = [line for line in trace if RAISED.match(line)]
    frames = [line for line in trace if FRAME.match(line)]
    if not raised and not frames:
        return list(trace[:1])
    frame = frames[:1] if frames and frames[0].startswith("at ") else frames[-1:]  # Java has the innermost first
    return [*raised[-1:], *frame]


def template_of(message: str) -> str:
    """What can be seen of the message, with a mark in place of all that differs between records of one cause."""
    told = seen(message[: 2 * TEMPLATE_CHARACTERS])
    told = MAIL.sub("#", told) if "@" in told else told
    return " ".join(VARIABLE.sub("#", told).split())[:TEMPLATE_CHARACTERS]


def id_of(template: str) -> str:
    """A short name that the same template has at every run."""
    return hashlib.sha256(template.encode()).hexdigest()[:ID_CHARACTERS]


def clustered(records: Iterable[Record]) -> list[Cluster]:
    """Clusters in the order of what to look at first; the example is the first record of each."""
    counts, first = dict[str, int](), dict[str, tuple[str, str]]()
    for record in records:
        message = message_of(record)
        template = template_of(message)
        counts[template] = counts.get(template, 0) + 1
        if template not in first:
            first[template] = (message[:EXAMPLE_CHARACTERS], record.level)
    found = [Cluster(id_of(t), t, n, first[t][0], first[t][1]) for t, n in counts.items()]
    return sorted(found, key=lambda cluster: cluster.rank)


def compared(clusters: Sequence[Cluster], before: Mapping[str, float | str], lines: int) -> list[Cluster]:
    """The clusters with their trend. `before`: what the last run measured (`measured`), {} where there was none."""
    if not before:
        return list(clusters)
    lines_before = float(before.get("lines", 0)) or 1.0
    return [_with_trend(cluster, before, lines / lines_before) for cluster in clusters]


def _with_trend(cluster: Cluster, before: Mapping[str, float | str], growth: float) -> Cluster:
    count = before.get(cluster.id)
    if not isinstance(count, int | float):
        return replace(cluster, before=0, trend=Trend.NEW)
    usual = count * max(growth, 1e-9)
    more = cluster.count >= MUCH_MORE * usual and cluster.count - usual >= LEAST_MORE
    return replace(cluster, before=int(count), trend=Trend.MORE if more else Trend.SAME)


def gone(clusters: Sequence[Cluster], before: Mapping[str, float | str]) -> list[str]:
    """Templates of the last run that did not come again."""
    now = {cluster.id for cluster in clusters}
    names = {key: str(value) for key, value in before.items() if key.startswith("template ")}
    return sorted(name for key, name in names.items() if key.removeprefix("template ") not in now)


def measured(clusters: Sequence[Cluster], lines: int) -> dict[str, float | str]:
    """What the next run compares with."""
    told: dict[str, float | str] = {"lines": lines}
    for cluster in clusters:
        told |= {cluster.id: cluster.count, f"template {cluster.id}": cluster.template}
    return told


def clusters_json(clusters: Sequence[Cluster], causes: Mapping[str, str]) -> str:
    """All clusters as a file. `causes`: by id."""
    told = [
        {"id": c.id, "count": c.count, "level": c.level, "trend": c.trend.value, "before": c.before}
        | {"cause": causes.get(c.id, ""), "template": c.template, "example": c.example}
        for c in clusters
    ]
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"
