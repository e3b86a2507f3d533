"""What log_watch promises: counts are those of the log, ids are those of templates, words are those of the lines."""

import json
import re
from pathlib import Path

from blocks.checking.causes import CAUSES
from blocks.checking.clusters import clustered, id_of
from blocks.checking.flaky import unsound
from blocks.reading.junit import read_runs
from blocks.reading.logs import INFO, read_log
from deployments.fleet import read_fleet

ID = re.compile(r"^\| ([0-9a-f]{8}) \|", re.MULTILINE)
MOST_BYTES = 4_194_304


def check(folder: Path, day: str) -> None:
    """The page and `clusters.json` say what the source says when it is counted again."""
    page, told = (folder / f"{day}.md").read_text(), json.loads((folder / "clusters.json").read_text())
    [parameters] = [
        entry.parameters["parameters"]
        for entry in read_fleet()
        if folder.name == f"{Path(entry.flow_file).stem.replace('_', '-')}-{entry.name}"
    ]
    assert {row["id"]: row["count"] for row in told} == _counted(parameters)
    assert told and set(ID.findall(page)) <= {row["id"] for row in told}
    assert all(row["id"] == id_of(row["template"]) and row["cause"] in CAUSES for row in told)
    measured = json.loads((folder / "measured.json").read_text())["runs"][-1]["values"]
    assert {row["id"]: row["count"] for row in told}.items() <= measured.items()


def _counted(parameters: dict[str, str]) -> dict[str, int]:
    source = parameters["source"]
    if parameters.get("form") == "junit":
        runs = read_runs(source, max_runs=20, max_bytes=MOST_BYTES)
        return {cluster.id: cluster.count for cluster, _, _ in unsound(runs.cases)}
    pattern = re.compile(parameters["pattern"]) if parameters.get("pattern") else None
    log = read_log(source, max_bytes=MOST_BYTES)
    wanted = [r for r in log.records if (pattern.search(r.text) if pattern else r.level != INFO)]
    return {cluster.id: cluster.count for cluster in clustered(wanted)}
