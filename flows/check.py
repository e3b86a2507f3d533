"""check: is it as it should be? For whoever is on call. Code judges; a model only says what may be behind a failure."""

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from blocks.agent import agent
from blocks.checking.failure_causes import causes_of, spoken_for
from blocks.checking.findings import Finding, Severity, ordered, verdict
from blocks.checking.settings import Check, CheckSettings
from blocks.checks import Told, name_of, watch
from blocks.parameters import AgentParameters
from blocks.reading.earlier import FILE, Measured, with_now
from blocks.reading.prompts import read_prompt
from blocks.untrusted import as_data
from blocks.writing.csv_files import csv_text
from blocks.writing.markdown import byline, escaped, table
from governor.answers import Answer
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

COLUMNS = ["severity", "subject", "what", "value", "limit"]
# Findings on the page; all of them stand in the CSV file.
MOST_BAD, MOST_FINE = 100, 12
ANEW = "The runs before looked at another source; this one is compared with none of them."
CAUSES_HEAD = "What may be behind the failures, chosen by a model among known causes; the verdict is code's alone:"
# The longest cause has 20 tokens; a cut one would be none of the choices.
CAUSE_TOKENS = 48


class CheckParameters(AgentParameters):
    """What to check, and its limits. A model explains at most `max_items` failures."""

    source: str = Field(
        description="File, folder or database, by the check; uptime reads none when `settings.addresses` are given."
    )
    check: Check = Field(description="What is looked at.")
    settings: CheckSettings = Field(default_factory=CheckSettings, description="Limits, and further inputs.")
    prompt_file: str = "flows/prompts/check.md"


@flow(name="check", persist_result=False)
def check(parameters: CheckParameters) -> State:
    """Read -> judge (code) -> a likely cause of each failure -> write; without a failure no model is asked."""
    with agent(parameters) as run:
        told = Told(
            source=parameters.source, settings=parameters.settings, now=run.expected_at, max_bytes=parameters.max_bytes
        )
        watched = watch(parameters.check, told)
        run.saw(name_of(parameters.source), watched.facts, text=" ".join(watched.addresses))
        measured = Measured(day=run.day, inputs=watched.facts, values=watched.values)
        history = with_now(run.folder, measured, source=parameters.source)
        findings = ordered(watched.judge(history.before))
        failed = [finding for finding in findings if finding.severity is Severity.FAIL]
        explained = [f for f in failed if causes_of(parameters.check, f)][: run.items(parameters.max_items)]
        answers = run.ask_all(requests(explained, parameters)) if explained else []
        files = {"findings.csv": csv_text(COLUMNS, [[getattr(f, c) for c in COLUMNS] for f in findings])}
        alarm = f"{len(failed)} of {len(findings)} findings failed: {failed[0].what}" if failed else ""
        text = page(findings, list(zip(explained, answers, strict=True)), ANEW if history.is_anew else "")
        run.write(f"Check: {parameters.check}", text, files={**files, FILE: history.text()}, alarm=alarm)
    return run.state


def requests(failed: list[Finding], parameters: CheckParameters) -> list[ModelRequest]:
    """Which of the causes that may be behind it; one that nothing in the finding speaks for does not stand."""
    prompt, asked = read_prompt(parameters.prompt_file), list[ModelRequest]()
    for finding in failed:
        causes = causes_of(parameters.check, finding)
        listed = "\n".join(f"- {cause}" for cause in causes)
        asked.append(
            ModelRequest(
                kind=Kind.CLASSIFY,
                prompt=prompt.safe_substitute(text=as_data(finding.what, 400), causes=listed),
                choices=causes,
                max_tokens=CAUSE_TOKENS,
                verifier=spoken_for(parameters.check, finding),
            )
        )
    return asked


def page(findings: list[Finding], explained: list[tuple[Finding, Answer]], note: str = "") -> str:
    """The verdict first, then findings, worst first; what may be behind them stands apart from what is."""
    count = {str(severity): sum(f.severity is severity for f in findings) for severity in Severity}
    head = f"Verdict: **{verdict(findings)}** - {count['fail']} failed, {count['warn']} warnings, {count['ok']} fine."
    fine = [finding for finding in findings if finding.severity is Severity.OK]
    bad = [finding for finding in findings if finding.severity is not Severity.OK]
    told: list[list[object]] = [
        [f.severity, escaped(f.subject), escaped(f.what)] for f in [*bad[:MOST_BAD], *fine[:MOST_FINE]]
    ]
    parts = [head, *([note] if note else []), table(["verdict", "subject", "found"], told)]
    if len(bad) > MOST_BAD:
        parts.append(f"{len(bad) - MOST_BAD} more failures and warnings stand in findings.csv.")
    if len(fine) > MOST_FINE:
        parts.append(f"{len(fine) - MOST_FINE} more are fine; see findings.csv.")
    if explained:
        rows = [[escaped(f.what), a.data if a.verified else "", byline(a)] for f, a in explained]
        parts += [CAUSES_HEAD, table(["failure", "perhaps", "by"], rows)]
    return "\n\n".join(parts)
