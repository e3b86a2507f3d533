"""code-review: lines of the newest commits that are worth a look, for whoever merges. Drafts only; nothing is changed.

Places are code's: each finding stands at an added line of the diff. In `security` and `test_gaps` code finds, too, and
the model only grades or chooses; its word stands beside the rule's and never in its place.
"""

from typing import Literal

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from blocks.agent import Run, agent
from blocks.checking.review import (
    NOTHING,
    ORDERS_RULE,
    SEVERITIES,
    Finding,
    code_line,
    concern_rule,
    decision_rule,
    findings_of,
    grade_schema,
    note_rule,
    note_schema,
    readable,
    untested,
)
from blocks.parameters import AgentParameters
from blocks.reading.diffs import Diff, read_diff
from blocks.reading.history import RANGES, ranges_text, span_of
from blocks.reading.prompts import read_prompt
from blocks.reading.repository import MAX_BYTES, open_repository
from blocks.reading.untested import Gap, gaps_of
from blocks.untrusted import as_data
from blocks.writing.findings import Row, findings_csv, findings_page
from blocks.writing.markdown import BY_RULES, byline
from blocks.writing.outputs import sha256_of
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

PROMPTS = {
    "commits": "flows/prompts/code_review.md",
    "security": "flows/prompts/code_review_security.md",
    "test_gaps": "flows/prompts/code_review_test_gaps.md",
}


class CodeReviewParameters(AgentParameters):
    """A repository, what to look for, and how many findings at most. `max_items`: most calls."""

    focus: Literal["commits", "security", "test_gaps"] = Field(
        default="commits", description="Anything a reviewer would note, dangerous lines, or code without a test."
    )
    days: int = Field(default=3, ge=1, le=366, description="How far back the first run looks; later ones go on.")
    max_findings: int = Field(default=12, ge=1, le=100, description="Most rows; the page says how many more there are.")
    max_bytes: int = Field(
        default=MAX_BYTES, ge=1024, le=67_108_864, description="Not used: of what git prints 8 MiB are read."
    )
    prompt_file: str = Field(default="", description="Words of your own for the focus; empty: those that come with it.")


@flow(name="code-review", persist_result=False)
def code_review(parameters: CodeReviewParameters) -> State:
    """Read the diff of the range -> find (code) -> grade, choose or note (model) -> check -> write."""
    with agent(parameters) as run:
        repository = open_repository(parameters.source)
        span = span_of(repository, run.folder, run.day, days=parameters.days)
        diff = read_diff(repository, span)
        run.saw(f"{parameters.source}, diff", sha256_of([span.base, span.tip]))
        unread, alarm = [*diff.left_out], ""
        if parameters.focus == "security":
            rows = graded(run, findings_of(diff.hunks), parameters)
            grave = [finding for finding, _, _ in rows if finding.severity == SEVERITIES[-1]]
            alarm = f"{len(grave)} grave findings, the first at {grave[0].place}" if grave else ""
        elif parameters.focus == "test_gaps":
            gaps, broken = gaps_of(repository, span, diff)
            rows, unread = chosen(run, gaps, parameters), [*unread, *broken]
        else:
            rows, silent = noted(run, diff, parameters)
            unread += silent
        shown, more = rows[: parameters.max_findings], len(rows[parameters.max_findings :])
        files = {RANGES: ranges_text(run.folder, run.day, span), "findings.csv": findings_csv(shown)}
        text = findings_page(shown, more=more, left_out=unread, note=span.note)
        run.write(f"Review: {run.agent}", text, files=files, alarm=alarm)
    return run.state


def graded(run: Run, findings: list[Finding], parameters: CodeReviewParameters) -> list[Row]:
    """The rules' findings, the gravest graded and worded by the model as well; but none that speaks to a model."""
    prompt = read_prompt(parameters.prompt_file or PROMPTS["security"])
    most = min(parameters.max_items, parameters.max_findings)
    asked = [finding for finding in findings[: parameters.max_findings] if finding.rule != ORDERS_RULE][
        : run.items(most)
    ]
    answers = run.ask_all(
        [
            ModelRequest(
                kind=Kind.CODE,
                prompt=prompt.safe_substitute(path=as_data(f.path, 80), text=code_line(f.text, f.path), what=f.what),
                json_schema=grade_schema(),
                max_tokens=run.tokens(parameters.max_tokens),
                verifier=note_rule(f"{f.text} {f.what}"),
            )
            for f in asked
        ]
    )
    said = {
        finding: (f"{a.data['severity']}: {a.data['note']}", byline(a))
        for finding, a in zip(asked, answers, strict=True)
        if a.verified
    }
    return [(finding, *said.get(finding, ("", BY_RULES))) for finding in findings]


def chosen(run: Run, gaps: list[Gap], parameters: CodeReviewParameters) -> list[Row]:
    """Functions without a test, with the line that the model would test first; where there is one, nobody is asked."""
    prompt = read_prompt(parameters.prompt_file or PROMPTS["test_gaps"])
    lines = {gap: tuple(dict.fromkeys(filter(None, map(code_line, gap.branches)))) for gap in gaps}
    most = min(parameters.max_items, parameters.max_findings)
    asked = [gap for gap in gaps if len(lines[gap]) > 1][: run.items(most)]
    answers = run.ask_all(
        [
            ModelRequest(
                kind=Kind.CODE,
                prompt=prompt.safe_substitute(name=as_data(gap.name, 60), text="\n".join(lines[gap])),
                choices=lines[gap],
                max_tokens=run.tokens(parameters.max_tokens),
                verifier=decision_rule(lines[gap]),
            )
            for gap in asked
        ]
    )
    said = {gap: (f"first: {a.data}", byline(a)) for gap, a in zip(asked, answers, strict=True) if a.verified}
    return [(untested(gap), *said.get(gap, ("", BY_RULES))) for gap in gaps]


def noted(run: Run, diff: Diff, parameters: CodeReviewParameters) -> tuple[list[Row], list[tuple[str, str]]]:
    """What the model notes at the largest hunks of code, the gravest first; and those about which nothing stands."""
    prompt = read_prompt(parameters.prompt_file or PROMPTS["commits"])
    hunks = readable(diff.hunks)
    asked = hunks[: run.items(parameters.max_items)]
    answers = run.ask_all(
        [
            ModelRequest(
                kind=Kind.CODE,
                prompt=prompt.safe_substitute(
                    path=as_data(path, 80), text="\n".join(f"{number}: {text}" for number, text in lines.items())
                ),
                json_schema=note_schema(sorted(lines)),
                max_tokens=run.tokens(parameters.max_tokens),
                verifier=concern_rule(lines),
            )
            for path, lines in asked
        ]
    )
    rows: list[Row] = []
    silent = [(f"{path}:{min(lines)}", "past the cap on calls") for path, lines in hunks[len(asked) :]]
    for (path, lines), answer in zip(asked, answers, strict=True):
        if not answer.verified:
            silent.append((f"{path}:{min(lines)}", "no answer passed the check"))
        elif answer.data["concern"] != NOTHING:
            line, said = answer.data["line"], answer.data
            finding = Finding(path, line, said["severity"], "note", "noted by a model", lines[line].strip())
            rows.append((finding, said["concern"], byline(answer)))
    return sorted(rows, key=lambda row: (-SEVERITIES.index(row[0].severity), row[0].path, row[0].line)), silent
