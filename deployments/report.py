"""How `doctor` and `fetch` say what they found; the checks and the fetching are modules of their own."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from deployments.environment import apply_client_environment
from governor.settings import prepare_home

if TYPE_CHECKING:
    from deployments.doctor import Check

MARKS = {"pass": "pass", "warn": "WARN", "fail": "FAIL"}


def run_doctor(*, as_json: bool) -> int:
    """Print every check with its remedy; 1 when one failed."""
    from deployments.doctor import checks

    found = checks()
    lines = [json.dumps([asdict(check) for check in found], indent=2)] if as_json else rows(found)
    print("\n".join(lines))
    return 1 if any(check.outcome == "fail" for check in found) else 0


def rows(found: "list[Check]") -> list[str]:
    """One line per check, a second one with the remedy where there is one."""
    width = max((len(check.name) for check in found), default=0)
    lines = []
    for check in found:
        lines.append(f"{MARKS[check.outcome]}  {check.name:<{width}}  {check.said}")
        if check.remedy and check.outcome != "pass":
            lines.append(f"      {'':<{width}}  -> {check.remedy}")
    return lines


def run_fetch() -> None:
    """Fetch the weights into the state folder, saying how far it is."""
    from deployments.ground import fetch
    from deployments.screen import Screen

    where = prepare_home()
    apply_client_environment(where)
    fetch(where, Screen())
