"""draft: no section stops the next one, no draft of its owner is lost, and nothing in its front matter is active."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from blocks.checking.drafts import Form
from blocks.reading.outlines import read_notes
from blocks.writing.drafts import drafted
from blocks.writing.markdown_proof import Allowed, examine
from flows.draft import DraftParameters, draft
from governor.policy.requests import ModelRequest
from governor.policy.tokens import needed_tokens
from governor.settings import Home
from tests.unit.fleet_stage import Ran, run_flow
from tests.unit.test_flows_draft import copies, the_draft, told

SECTIONS = {
    "Ferry": "The ferry runs again from 3 May, and everybody on the island is happy about it.",
    "Bikes": "Twelve bikes were repaired in the depot, and all of them have new brakes.",
    "Choir": "The choir sings in the old church on Sunday, and nobody pays for it at the door.",
}
OUTLINE = "# Posts\n\n## Weather\n\n" + "".join(f"## {name}\n\n" for name in SECTIONS)
NOTES = "".join(f"# {name}\n\n{text}\n\n" for name, text in SECTIONS.items())


def posts(tmp_path: Path, **more: object) -> DraftParameters:
    return told(tmp_path, form="social", outline=OUTLINE, notes=NOTES, max_items=1, **more)


def headings(ran: Ran) -> list[str]:
    return [line for line in the_draft(ran.files)[1].splitlines() if line.startswith("## ")]


def put_back(ran: Ran, day: str) -> None:
    """The draft of today becomes one of an earlier day."""
    [name] = [name for name in ran.files if name.startswith("draft-") and not name.startswith("draft-2020")]
    (ran.folder / name).rename(ran.folder / f"draft-{day}.md")


def drafts_on(ran: Ran) -> list[str]:
    return [
        line
        for name, text in ran.files.items()
        if name[:6] == "draft-"
        for line in text.splitlines()
        if line[:3] == "## "
    ]


def test_a_section_that_cannot_be_drafted_is_named_and_the_next_one_is_drafted(
    hotdesk_home: Home, tmp_path: Path
) -> None:
    ran = run_flow(draft, posts(tmp_path), lambda r: "Buy gold, now." if "ferry" in r.prompt else copies(r))
    assert headings(ran) == ["## Bikes"]
    assert "Passed over: Weather (no note speaks of it); Ferry (its text passed no check)" in ran.page


def test_a_section_too_like_an_earlier_draft_does_not_stop_the_next_one(hotdesk_home: Home, tmp_path: Path) -> None:
    ran = run_flow(draft, posts(tmp_path), copies)
    (ran.folder / "draft-2020-01-01.md").write_text(f"---\npieces: []\n---\n\n{SECTIONS['Ferry']}\n")
    again = run_flow(draft, posts(tmp_path), copies)
    [today] = [text for name, text in again.files.items() if name[:6] == "draft-" and "2020" not in name]
    assert "## Bikes" in today
    assert "Ferry (too like the draft of 2020-01-01)" in again.page


def test_no_post_is_drafted_twice_however_many_days_lie_between(hotdesk_home: Home, tmp_path: Path) -> None:
    seen = []
    for number in range(3):
        ran = run_flow(draft, posts(tmp_path, last_drafts=0), copies)
        seen += headings(ran) if number == 0 else [h for h in drafts_on(ran) if h not in seen]
        put_back(ran, f"2020-01-0{number + 1}")
    assert seen == ["## Ferry", "## Bikes", "## Choir"]
    assert run_flow(draft, posts(tmp_path, last_drafts=0), copies).state.name == "CouldNot"


def test_a_stand_in_is_no_draft_of_a_post_and_a_broken_front_matter_names_none_away(tmp_path: Path) -> None:
    words = "pieces:\n- {heading: Ferry, words: by rules only}\n- {heading: Bikes, words: a model}\n"
    (tmp_path / "draft-2020-01-01.md").write_text(f"---\n{words}---\n\n## Ferry\n\n## Bikes\n")
    (tmp_path / "draft-2020-01-02.md").write_text("---\n: [\n---\n\n## Choir\n")
    (tmp_path / "draft-2020-01-03.md").write_text("## Sea\n")
    (tmp_path / "draft-2020-01-04.md").write_text("---\npieces: 7\n---\n")
    assert drafted(tmp_path, before="2021-01-01") == {"Bikes", "Choir"}


def test_a_section_that_never_passes_does_not_hide_those_after_it(hotdesk_home: Home, tmp_path: Path) -> None:
    names = [f"Part{chr(97 + n)}{chr(97 + n)}" for n in range(5)]
    outline = "# Posts\n\n" + "".join(f"## {name}\n\n" for name in names)
    notes = "".join(
        f"# {name}\n\nThe {name} of the harbour stands beside the old church of the town.\n\n" for name in names
    )
    parameters = told(tmp_path, form="social", outline=outline, notes=notes, max_items=1)
    last = names[-1]
    runs = [run_flow(draft, parameters, lambda r: copies(r) if last in r.prompt else "Buy gold.") for _ in range(4)]
    assert [len(ran.asked) for ran in runs] == [3, 3, 3, 2]
    assert headings(runs[-1]) == [f"## {last}"]


def mails(
    tmp_path: Path, subject: str = "Rain cover", text: str = "My rain cover leaks at the zip."
) -> DraftParameters:
    path = tmp_path / "m.mbox"
    head = f"From x Thu Nov 19 09:15:00 2026\nFrom: Hanna Brix <hanna@brix.example>\nSubject: {subject}\n"
    path.write_text(f"{head}Message-ID: <1@a.example>\n\n{text}\n")
    (tmp_path / "t.txt").write_text("Hello,\n\nabout $subject: you wrote: $said\n")
    given = {"source": str(path), "form": "replies", "template_file": str(tmp_path / "t.txt")}
    return DraftParameters.model_validate(given)


def test_a_mail_of_one_sentence_gets_a_reply_by_rules_that_says_to_whom(hotdesk_home: Home, tmp_path: Path) -> None:
    ran = run_flow(draft, mails(tmp_path), lambda r: None)
    assert (ran.state.name, ran.asked) == ("Completed", [])
    front, body = the_draft(ran.files)
    assert "## Re: Rain cover (to Hanna Brix hanna@brix.example)" in body
    assert "you wrote: My rain cover leaks at the zip." in body
    [piece] = front["pieces"]  # type: ignore[misc]
    assert piece["to"] == "Hanna Brix hanna@brix.example"


@pytest.mark.parametrize(
    "subject",
    [
        "![x](http://evil.example/p)",
        "[a](http://evil.example)",
        "<img src=//evil.example>",
        "www.evil.example",
        "`<b>",
        "a: [b",
    ],
)
def test_nothing_in_a_front_matter_is_active(hotdesk_home: Home, tmp_path: Path, subject: str) -> None:
    ran = run_flow(draft, mails(tmp_path, subject), lambda r: None)
    [text] = [text for name, text in ran.files.items() if name.startswith("draft-")]
    assert yaml.safe_load(text.split("---\n")[1])["status"] == "draft"
    assert not examine(text, Allowed.of(set())).forbidden
    assert "evil.example" not in text.split("---\n")[1]


def test_a_draft_that_its_owner_changed_stays(hotdesk_home: Home, tmp_path: Path) -> None:
    ran = run_flow(draft, mails(tmp_path), lambda r: None)
    [name] = [name for name in ran.files if name.startswith("draft-")]
    (ran.folder / name).write_text("Mine now.\n")
    for _ in range(2):
        again = run_flow(draft, mails(tmp_path, text="My saddle squeaks in the rain."), lambda r: None)
        assert again.files[name] == "Mine now.\n"
        assert "saddle" in again.files[name.replace(".md", ".new.md")]
        assert f"changed by hand; this one is {name.replace('.md', '.new.md')}" in again.page


def test_a_draft_that_nobody_changed_is_written_anew(hotdesk_home: Home, tmp_path: Path) -> None:
    ran = run_flow(draft, mails(tmp_path), lambda r: None)
    again = run_flow(draft, mails(tmp_path, text="My saddle squeaks in the rain."), lambda r: None)
    assert [name for name in again.files if name.startswith("draft-")] == [n for n in ran.files if n[:6] == "draft-"]
    assert "saddle" in the_draft(again.files)[1]


def test_a_due_time_that_has_passed_is_that_of_tomorrow(hotdesk_home: Home, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    due = (now - timedelta(minutes=1)).strftime("%H:%M")
    front, _ = the_draft(run_flow(draft, mails(tmp_path).model_copy(update={"due": due}), lambda r: None).files)
    assert datetime.strptime(str(front["due"]), "%Y-%m-%d %H:%M").replace(tzinfo=UTC) > now


def test_notes_of_two_folders_keep_their_own_names(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "n.md").write_text(f"# Times\n\nwords of {folder}\n")
    assert [note.id for note in read_notes(str(tmp_path))] == ["a/n.md: Times", "b/n.md: Times"]
    assert [note.id for note in read_notes(str(tmp_path / "a" / "n.md"))] == ["n.md: Times"]


@pytest.mark.parametrize("form", ["blog", "faq-answers", "product-copy"])
def test_requests_of_any_script_fit_a_small_context(hotdesk_home: Home, tmp_path: Path, form: str) -> None:
    text = "漢字" * 45
    outline, notes = f"# T\n\n## {text}\n\n{(text + '。 ') * 9}\n", f"# {text}\n\n{(text + '。 ') * 9}\n"
    (tmp_path / "prompt.txt").write_text("$title $brief $voice\n\n$text")
    (tmp_path / "style.yaml").write_text(f"voice: {text * 3}")
    files = {"prompt_file": str(tmp_path / "prompt.txt"), "style_file": str(tmp_path / "style.yaml")}
    parameters = told(tmp_path, form, outline, notes, **files)
    if form != "blog":
        (tmp_path / "q.csv").write_text(f"question\n{text}\n{text * 9}\n")
        parameters = parameters.model_copy(update={"source": str(tmp_path / "q.csv")})
    asked: list[ModelRequest] = run_flow(draft, parameters, lambda r: None).asked
    assert asked
    assert max(map(needed_tokens, asked)) <= 2048


def test_a_page_says_what_it_left_out(hotdesk_home: Home, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("name,price\n" + "".join(f"Lamp {word},5 EUR\n" for word in ("one", "two", "three")))
    parameters = DraftParameters(source=str(path), form=Form.PRODUCT_COPY, max_items=2)
    ran = run_flow(draft, parameters, lambda r: "This is a lamp of the price 5 EUR." if "one" in r.prompt else None)
    assert "1 more rows are left out." in ran.page
    (tmp_path / "n.md").write_text(NOTES)
    path.write_text("question,asked\nWhen does the ferry run?,2026-01-01\nAre the bikes repaired?,2026-01-02\n")
    parameters = DraftParameters(source=str(path), form=Form.FAQ_ANSWERS, notes=str(tmp_path / "n.md"), max_items=1)
    ran = run_flow(draft, parameters, copies)
    assert "Not among them: 1 older rows." in ran.page
    assert "ferry" not in "".join(request.prompt for request in ran.asked)
