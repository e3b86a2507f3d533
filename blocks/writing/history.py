"""Commits as a page: each once, under its group, with numbers that are the commits' own."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from blocks.checking.commits import one_line, without_foreign
from blocks.reading.commit_groups import Group, is_breaking
from blocks.reading.history import Commit
from blocks.writing.markdown import byline, escaped, table
from governor.answers import Answer


def history_page(
    commits: list[Commit], groups: list[Group], *, said: dict[str, Answer], note: str, sorters: Mapping[str, str]
) -> str:
    """Every commit once, under its group; numbers from the commits, the sentence of a group where one passed."""
    if not commits:
        return f"No new commits: {note}. *(by rules only)*"
    shas = {commit.sha for commit in commits}
    merges = [commit for commit in commits if commit.is_merge]
    rows: list[list[object]] = [[g.name, len(g.commits), g.files, *g.lines] for g in groups]
    parts = [
        f"{len(commits)} commits by {len({c.author for c in commits})} authors, {len(merges)} of them merges; {note}.",
        table(["group", "commits", "files", "lines added", "lines removed"], rows),
    ]
    for group in groups:
        answer = said.get(group.name)
        sentence = f"{_sentence(answer)}*({byline(answer)})*\n\n" if answer is not None else ""
        parts.append(f"## {escaped(group.name)}\n\n{sentence}" + _listed(group.commits, shas, sorters))
    if merges:
        parts.append("## Merges\n\n" + _listed(merges, shas, {}))
    return "\n\n".join(parts)


def _listed(commits: Sequence[Commit], shas: AbstractSet[str], sorters: Mapping[str, str]) -> str:
    """A line for each commit: its subject, its name, whether it breaks something, and which model sorted it."""
    return "\n".join(
        f"- {'**breaking:** ' if is_breaking(c) else ''}{escaped(without_foreign(c.subject, shas))} (`{c.short}`)"
        + (f" *(sorted by {sorters[c.sha]})*" if c.sha in sorters else "")
        for c in commits
    )


def _sentence(answer: Answer) -> str:
    """A model's words, where they passed."""
    return f"{escaped(one_line(answer.text))} " if answer.verified else ""
