"""git-digest: what came into a repository, for its users (changelog), the team (standup) and its lead (week in code).

Which commits, their groups and every number are code's; the model sorts what does not say its kind, and words groups.
"""

from typing import Literal

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from blocks.agent import Run, agent
from blocks.checking.commits import a_sentence, gives_orders, no_foreign_commits
from blocks.checking.prose import all_of, faithful
from blocks.parameters import AgentParameters
from blocks.reading.commit_groups import (
    ADDED,
    CHANGED,
    FIXED,
    HEADINGS,
    INTERNAL,
    REMOVED,
    Group,
    area_of,
    grouped,
    heading_of,
)
from blocks.reading.history import RANGES, Commit, commits_of, older_than, ranges_text, span_of
from blocks.reading.prompts import read_prompt
from blocks.reading.repository import MAX_BYTES, open_repository
from blocks.untrusted import as_data
from blocks.writing.history import history_page
from blocks.writing.markdown import byline
from blocks.writing.outputs import sha256_of
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

PHRASES = {
    "something new was added": ADDED,
    "something existing was changed": CHANGED,
    "something was removed": REMOVED,
    "an error was fixed": FIXED,
    "only internal work": INTERNAL,
}
UNSORTED = "Unsorted"
# A sentence is about at most so many subjects; a group of more is described by its newest.
MOST_SUBJECTS = 4


class GitDigestParameters(AgentParameters):
    """A repository, and for whom its commits are told. `max_items`: most groups that get a sentence."""

    form: Literal["changelog", "standup", "week"] = Field(
        default="changelog", description="By kind of change, by author, or by part with numbers."
    )
    days: int = Field(default=7, ge=1, le=366, description="How far back the first run looks; later ones go on.")
    max_bytes: int = Field(
        default=MAX_BYTES, ge=1024, le=67_108_864, description="Not used: of what git prints 8 MiB are read."
    )
    prompt_file: str = "flows/prompts/git_digest.md"
    heading_prompt_file: str = "flows/prompts/git_heading.md"


@flow(name="git-digest", persist_result=False)
def git_digest(parameters: GitDigestParameters) -> State:
    """Read the range -> group (code, and the model where a commit does not say) -> a sentence a group -> write."""
    with agent(parameters) as run:
        repository = open_repository(parameters.source)
        span = span_of(repository, run.folder, run.day, days=parameters.days)
        commits = commits_of(repository, span)
        run.saw(f"{parameters.source}, commits", sha256_of([commit.sha for commit in commits]))
        work = [commit for commit in commits if not commit.is_merge]
        sorters: dict[str, str] = {}
        groups = grouped(work, lambda c: c.author if parameters.form == "standup" else area_of(c))
        if parameters.form == "changelog":
            groups, sorters = by_heading(run, work, parameters)
        worded = [group for group in groups if group.name not in {INTERNAL, UNSORTED} and told(group)]
        worded = worded[: run.items(parameters.max_items)]
        prompt, own = read_prompt(parameters.prompt_file), no_foreign_commits({commit.sha for commit in commits})
        answers = run.ask_all(
            [
                ModelRequest(
                    kind=Kind.SUMMARISE,
                    prompt=prompt.safe_substitute(text=subjects(group)),
                    max_tokens=run.tokens(parameters.max_tokens),
                    verifier=a_sentence(all_of(faithful(subjects(group)), own)),
                )
                for group in worded
            ]
        )
        said = {group.name: answer for group, answer in zip(worded, answers, strict=True)}
        files = {RANGES: ranges_text(run.folder, run.day, span)}
        title = f"{parameters.form.capitalize()}: {run.agent}"
        older = older_than(repository, commits, span)
        note = f"{span.note}; {older} older ones are not told" if older else span.note
        run.write(title, history_page(commits, groups, said=said, note=note, sorters=sorters), files=files)
    return run.state


def by_heading(run: Run, commits: list[Commit], parameters: GitDigestParameters) -> tuple[list[Group], dict[str, str]]:
    """Commits under a changelog's headings: what each says itself, else what the model chooses, else unsorted.

    Returns: the groups, and for each commit that a model sorted whose word that is.
    """
    silent = [commit for commit in commits if heading_of(commit) is None and not gives_orders(commit.subject)]
    silent = silent[: run.items(parameters.max_items)]
    prompt = read_prompt(parameters.heading_prompt_file)
    answers = run.ask_all(
        [
            ModelRequest(
                kind=Kind.CLASSIFY,
                prompt=prompt.safe_substitute(text=as_data(commit.subject, 120)),
                choices=possible(commit),
                max_tokens=24,
            )
            for commit in silent
        ]
    )
    chosen = {c.sha: PHRASES[a.data] for c, a in zip(silent, answers, strict=True) if a.verified}
    groups = grouped(commits, lambda c: heading_of(c) or chosen.get(c.sha, UNSORTED))
    order = [*HEADINGS[:-1], UNSORTED, INTERNAL]
    sorters = {c.sha: byline(a) for c, a in zip(silent, answers, strict=True) if a.verified}
    return sorted(groups, key=lambda group: order.index(group.name)), sorters


def possible(commit: Commit) -> tuple[str, ...]:
    """The kinds that a commit can be of: who takes no lines away removes nothing, who adds none adds nothing."""
    inserted, deleted = commit.lines
    out = {REMOVED} if deleted <= inserted else {ADDED}
    return tuple(phrase for phrase, heading in PHRASES.items() if heading not in out)


def told(group: Group) -> list[str]:
    """The subjects that a group's sentence is about, its newest; none for a single one, which says it better.

    A subject that gives orders to a model is listed as every other, but no sentence is made of it.
    """
    chosen = [as_data(c.subject, 100) for c in group.commits if not gives_orders(c.subject)][:MOST_SUBJECTS]
    return chosen if len(chosen) > 1 else []


def subjects(group: Group) -> str:
    """The same as lines of a prompt."""
    return "\n".join(f"- {subject}" for subject in told(group))
