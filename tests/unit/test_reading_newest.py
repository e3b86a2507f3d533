"""Where not all is read it is the newest that is, and what is left out is said."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocks.reading import mail as mail_reading
from blocks.reading import pages
from blocks.reading import rows as rows_reading
from blocks.reading.documents import read_folder
from blocks.reading.feeds import read_feed
from blocks.reading.junit import read_runs
from blocks.reading.logs import read_log
from blocks.reading.mail import read_mail
from blocks.reading.messages import read_messages
from blocks.reading.pages import read_pages
from blocks.reading.rows import first_rows, last_rows
from blocks.reading.tickets import read_tickets
from blocks.reading.uptime import MOST_ADDRESSES, logged, probed
from governor.errors import BadInput

PASSED = "<testsuite><testcase name='t'/></testsuite>"


def changed(path: Path, day: int, text: str = "some words") -> None:
    path.write_text(text)
    seconds = datetime(2026, 11, day, tzinfo=UTC).timestamp()
    os.utime(path, (seconds, seconds))


def test_the_documents_that_changed_last_are_read_and_the_others_counted(tmp_path: Path) -> None:
    for name, day in (("a.txt", 9), ("b.txt", 3), ("c.txt", 9), ("d 2026-11-02.txt", 9), ("e.txt", 4)):
        changed(tmp_path / name, day)
    read = read_folder(str(tmp_path), max_items=4)
    assert [item.id for item in read.items] == ["d 2026-11-02.txt", "a.txt", "c.txt", "e.txt"]
    assert read.left_out == 1


def test_the_last_runs_are_read_by_their_numbers_even_of_many(tmp_path: Path) -> None:
    for number in range(1, 251):
        (tmp_path / f"run-{number}.xml").write_text(PASSED)
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "run-9.xml").write_text(PASSED)
    runs = read_runs(str(tmp_path), max_runs=3, max_bytes=1000)
    assert (runs.runs, runs.left_out) == (["run-249", "run-250", "z/run-9"], 248)


def test_the_newest_pages_are_read_by_the_days_in_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_PAGES", 2)
    for name in ("2026-11-03-a.md", "2026-11-05-b.md", "2026-11-04-c.md"):
        (tmp_path / name).write_text("# A page\n\nwith words")
    found = read_pages(str(tmp_path))
    assert ({item.id for item in found.items}, found.problems) == (
        {"2026-11-05-b.md", "2026-11-04-c.md"},
        ["1 older pages"],
    )


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("id,text\n" + "".join(f"{n},word\n" for n in range(100)), ["96", "97", "98", "99"]),
        # The cut falls into a cell that holds line breaks and commas: no row is made of its rest.
        ('id,text\n1,x\n2,"' + "a,b\nc,d\n" * 9 + '"\n3,last\n', ["3"]),
        ('id,text\n1,x\n2,"' + "a\n" * 30 + '""b""\n"\n3,last\n', ["3"]),
    ],
)
def test_the_last_rows_of_a_table_are_whole(tmp_path: Path, text: str, kept: list[str]) -> None:
    (tmp_path / "a.csv").write_text(text)
    part = last_rows(str(tmp_path / "a.csv"), max_bytes=34)
    assert ([row["id"] for row in part.rows], part.is_cut) == (kept, True)
    assert last_rows(str(tmp_path / "a.csv"), max_bytes=9999).is_cut is False


def test_of_the_first_rows_of_a_table_none_is_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("id,sum\n1,100\n2,200\n3,300\n")
    part = first_rows(str(tmp_path / "a.csv"), max_bytes=17)
    assert (part.rows, part.is_cut) == ([{"id": "1", "sum": "100"}], True)
    monkeypatch.setattr(rows_reading, "MOST_ROWS", 2)
    assert [len(first_rows(str(tmp_path / "a.csv"), max_bytes=99).rows)] == [2]


def test_a_long_table_in_utf_16_is_refused_where_its_end_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(("id,text\n" + "1,word\n" * 99).encode("utf-16"))
    with pytest.raises(BadInput, match="UTF-16"):
        last_rows(str(tmp_path / "a.csv"), max_bytes=100)


def test_of_tickets_the_last_ones_are_read_and_the_rest_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,body\n" + "".join(f"{n},help me\n" for n in range(100)))
    read = read_tickets(str(tmp_path / "t.csv"), max_bytes=40)
    assert [ticket.id for ticket in read.tickets] == ["97", "98", "99"]
    assert read.problems == ("older tickets than the last 3",)


@pytest.mark.parametrize("is_downward", [False, True])
def test_of_a_long_export_the_newest_rows_are_read_whichever_way_it_goes(tmp_path: Path, is_downward: bool) -> None:
    days = [f"2026-10-{day:02}" for day in range(1, 31)]
    told = "".join(f"{day},words,{day}\n" for day in (reversed(days) if is_downward else days))
    (tmp_path / "a.csv").write_text(f"id,text,at\n{told}")
    found = read_messages(str(tmp_path / "a.csv"), max_bytes=100)
    assert [item.id for item in found.items][:2] == ["2026-10-30", "2026-10-29"]
    assert "older rows" in found.problems[0]


def test_an_uptime_log_is_read_from_its_end_and_refused_where_that_is_no_day(tmp_path: Path) -> None:
    begin = datetime(2026, 11, 1, tzinfo=UTC)
    lines = [f"{begin + timedelta(hours=n):%Y-%m-%dT%H:%MZ},x,200\n" for n in range(200)]
    (tmp_path / "u.csv").write_text("at,address,status\n" + "".join(lines))
    found = logged(str(tmp_path / "u.csv"), max_bytes=1000)
    assert max(probe.at for probe in found.probes) == begin + timedelta(hours=199)
    with pytest.raises(BadInput, match="less than 24 hours"):
        logged(str(tmp_path / "u.csv"), max_bytes=100)


@pytest.mark.usefixtures("hotdesk_home")
def test_addresses_beyond_the_bound_are_named() -> None:
    told = [f"http://127.0.0.1/{number}" for number in range(MOST_ADDRESSES + 2)]
    found = probed(told, datetime(2026, 11, 25, tzinfo=UTC))
    assert (len(found.probes), found.left_out) == (MOST_ADDRESSES, tuple(told[-2:]))


def test_files_of_a_folder_of_logs_share_its_bytes_and_none_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("".join(f"ERROR a {n}\n" for n in range(1000)))
    (tmp_path / "b.log").write_text("ERROR disk full\n")
    (tmp_path / "c.log").write_text("ERROR c\n" * 500)
    (tmp_path / "a.log.1").write_text("ERROR old\n")
    log = read_log(str(tmp_path), max_bytes=900)
    texts = {record.text for record in log.records}
    assert {"ERROR disk full", "ERROR a 999", "ERROR c"} <= texts
    assert (log.cut, list(log.unread)) == (True, ["a.log.1"])
    assert sum(len(record.text) + 1 for record in log.records) <= 900


def test_older_mails_and_entries_that_are_left_out_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cur").mkdir()
    for number in range(4):
        (tmp_path / "cur" / f"{number}.M.desk").write_text(f"Subject: {number}\n\nHello {number}\n")
    assert read_mail(str(tmp_path), max_items=3).problems == ["1 older mails"]
    feed = "".join(f"<item><title>{n}</title><description>words {n}</description></item>" for n in range(5))
    (tmp_path / "a.xml").write_text(f"<rss><channel>{feed}</channel></rss>")
    monkeypatch.setattr("blocks.reading.feeds.MOST_ITEMS", 4)
    assert read_feed(str(tmp_path / "a.xml")).problems == ["1 entries beyond the first 4"]
    assert "first 200 bytes" in read_feed(str(tmp_path / "a.xml"), max_bytes=200).problems[-1]


def test_a_mail_that_is_moved_while_it_is_read_is_one_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "new").mkdir()
    for number in range(2):
        (tmp_path / "new" / f"{number}.M.desk").write_text(f"Subject: {number}\n\nHello {number}\n")
    there = [tmp_path / "new" / f"{number}.M.desk" for number in range(2)]
    monkeypatch.setattr(mail_reading, "_files", lambda _: there)
    there[0].unlink()
    found = read_mail(str(tmp_path))
    assert ([item.title for item in found.items], found.problems) == (["1"], ["0.M.desk: FileNotFoundError"])
