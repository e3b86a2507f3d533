"""Readers of the checks: what is nasty is named or refused, and nothing else happens."""

import json
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blocks.checking.broken_links import Leads
from blocks.checking.data_quality import counts
from blocks.checking.data_quality import judge as judge_data
from blocks.checking.prices import judge as judge_prices
from blocks.checking.settings import CheckSettings, DataRule, Must
from blocks.reading.backups import read_backups
from blocks.reading.certificates import read_certificates
from blocks.reading.dependencies import read_dependencies
from blocks.reading.disks import listed, measured
from blocks.reading.earlier import FILE, Measured, with_now
from blocks.reading.jail import within
from blocks.reading.links import read_links
from blocks.reading.moments import moment
from blocks.reading.prices import amount_of, as_values, from_values, read_prices
from blocks.reading.rows import rows_of
from blocks.reading.tables import read_tables
from blocks.reading.uptime import logged
from governor.errors import BadInput

MIB = 1 << 20
HOSTS = "flows/samples/check/hosts"


def test_rows_are_read_whatever_their_separator_and_marks() -> None:
    for text in ("a,b\n1,2\n", "\ufeffA;B\r\n1;2\r\n", "a\tb\n1\t2", "a|b\n\n1|2\n", "a,b\n1,2\0\n"):
        assert rows_of(text, "x") == [{"a": "1", "b": "2"}]
    assert rows_of('a,b\n"x\ny",2\nshort\n', "x") == [{"a": "x\ny", "b": "2"}, {"a": "short", "b": ""}]


@pytest.mark.parametrize("text", ["", "\n\n", "a,b\n" + '"' + "x" * 200_000])
def test_what_is_no_csv_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        rows_of(text, "x")


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-45", "0001-01-01T00:00:00+23:00", "9" * 400])
def test_what_is_no_time_is_none(text: str) -> None:
    assert moment(text) is None


def test_a_folder_of_backups_is_read_with_dates_from_names_and_sums_checked(tmp_path: Path) -> None:
    (tmp_path / "db-2026-11-24.zst").write_bytes(b"x" * 10)
    (tmp_path / "db-20261125T0310.zst").write_bytes(b"y" * 10)
    (tmp_path / "db-20261125T0310.zst.sha256").write_text("0" * 64 + "  db\n")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "out").symlink_to("/etc/passwd")
    found = read_backups(str(tmp_path), max_bytes=MIB)
    assert {(f.set, f.at, f.checksum) for f in found.files} == {
        ("db.zst", datetime(2026, 11, 24, tzinfo=UTC), "missing"),
        ("db.zst", datetime(2026, 11, 25, 3, 10, tzinfo=UTC), "wrong"),
    }
    assert found.unreadable == ("out (it leads out of the folder)",)


def test_rows_of_a_list_that_are_no_backups_are_named(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        "set,file,bytes,written_at\na,a1,١٢,2026-11-25\nb,b1,12,never\nc,c1,-5,2026-11-25\nd,d1,7,2026-11-25\n"
    )
    found = read_backups(str(path), max_bytes=MIB)
    assert [file.name for file in found.files] == ["d1"]
    assert found.unreadable == ("a1", "b1", "c1")


@pytest.mark.parametrize("text", ["", "x,y\n1,2\n", "set,file,bytes,written_at\n"])
def test_a_list_without_backups_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(BadInput):
        read_backups(str(tmp_path / "list.csv"), max_bytes=MIB)


def test_certificates_of_the_samples_are_read_and_the_broken_one_is_named() -> None:
    found = read_certificates(HOSTS, max_bytes=MIB)
    assert ("booking.harbour.example", 2026) in [(c.name, c.ends.year) for c in found.found if c.file == "booking.pem"]
    assert [*found.broken] == ["printer.pem"]


@pytest.mark.parametrize(
    "raw", [b"", b"\0" * 99, b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----", b"x" * MIB]
)
def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.pem").write_bytes(raw)
    assert [*read_certificates(str(tmp_path), max_bytes=MIB).broken] == ["a.pem"]


def test_disks_are_measured_or_listed(tmp_path: Path) -> None:
    [disk] = measured([str(tmp_path)])
    assert 0 <= disk.free_bytes <= disk.total_bytes
    with pytest.raises(BadInput):
        measured(["/no/such/path"])
    (tmp_path / "disks.csv").write_text("path,total_bytes,free_bytes\n/,1e9,many\n")
    assert [d.total_bytes for d in listed(tmp_path / "disks.csv", max_bytes=MIB)] == [0]


def test_lines_of_a_log_that_are_none_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(
        "at,address,status,seconds\n2026-11-25T00:00Z,x,200,inf\nnever,x,200,1\n2026-11-25T01:00Z,x,9999,1\n"
    )
    found = logged(str(path), max_bytes=MIB)
    assert ([probe.seconds for probe in found.probes], found.unreadable) == ([None], 2)


ADVISORY = json.dumps({"id": "A", "affected": [{"package": {"ecosystem": "PyPI", "name": "a"}, "versions": ["1"]}]})


@pytest.mark.parametrize(
    ("name", "text", "packages"),
    [
        (
            "requirements.txt",
            "a==1 \\\n  --hash=sha256:00\nb[x]==2 ; python_version>'3'\n-r more.txt\nc>=1\nd==1.*\n",
            ["a 1", "b 2", "c ", "d "],
        ),
        (
            "package-lock.json",
            '{"packages": {"": {"version": "1"}, "node_modules/@x/y": {"version": "2"}, "node_modules/z": 7}}',
            ["@x/y 2"],
        ),
        (
            "package-lock.json",
            '{"dependencies": {"a": {"version": "1", "dependencies": {"b": {"version": "2"}}}}}',
            ["a 1", "b 2"],
        ),
        ("poetry.lock", '[[package]]\nname = "a"\nversion = "1"\n[[package]]\nname = 7\n', ["a 1"]),
    ],
)
def test_lock_files_are_read(tmp_path: Path, name: str, text: str, packages: list[str]) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "known.json").write_text(ADVISORY)
    found = read_dependencies(str(tmp_path / name), str(tmp_path / "known.json"), max_bytes=MIB)
    assert sorted(f"{p.name} {p.version}" for p in found.packages) == packages


@pytest.mark.parametrize(
    ("lock", "known"),
    [
        ("", ADVISORY),
        ("a==1", ""),
        ("a==1", "{"),
        ("a==1", "[" * 100_000),
        ("a==1", '{"vulns": 7}'),
        ("# nothing\n", ADVISORY),
    ],
)
def test_without_packages_or_advisories_there_is_no_verdict(tmp_path: Path, lock: str, known: str) -> None:
    (tmp_path / "requirements.txt").write_text(lock)
    (tmp_path / "known.json").write_text(known)
    with pytest.raises(BadInput):
        read_dependencies(str(tmp_path / "requirements.txt"), str(tmp_path / "known.json"), max_bytes=MIB)
    with pytest.raises(BadInput):
        read_dependencies(str(tmp_path / "requirements.txt"), "", max_bytes=MIB)


def test_a_lock_file_of_brackets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "package-lock.json").write_text("[" * 100_000)
    (tmp_path / "known.json").write_text(ADVISORY)
    with pytest.raises(BadInput):
        read_dependencies(str(tmp_path / "package-lock.json"), str(tmp_path / "known.json"), max_bytes=MIB)


@pytest.mark.parametrize(
    ("target", "leads"),
    [
        ("b.md", Leads.THERE),
        ("/b.md", Leads.THERE),
        ("sub/../b.md#the-end", Leads.THERE),
        ("b.md#no-end", Leads.NO_HEADING),
        ("#here", Leads.THERE),
        ("<with space.md>", Leads.THERE),
        ("with%20space.md", Leads.THERE),
        ("c.md", Leads.NO_FILE),
        ("../secret.md", Leads.OUTSIDE),
        ("/../../../etc/passwd", Leads.OUTSIDE),
        ("out.md", Leads.OUTSIDE),
        ("mailto:a@x.example", Leads.OTHER),
        ("https://x.example/a", Leads.WEB),
        ("//evil.example/x", Leads.OTHER),
        ("x" * 5000, Leads.NO_FILE),
        ("b%00.md", Leads.NO_FILE),
    ],
)
def test_links_are_followed_inside_the_folder_only(tmp_path: Path, target: str, leads: Leads) -> None:
    folder = tmp_path / "pages"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.md").write_text("# Secret")
    (folder / "out.md").symlink_to(tmp_path / "secret.md")
    (folder / "b.md").write_text("# B\n\n## The end!\n")
    (folder / "with space.md").write_text("# W")
    (folder / "a.md").write_text(f"# Here\n\n[link]({target}) `[code](no.md)`\n")
    found = read_links(str(folder), online=False, max_bytes=MIB)
    assert [(link.page, link.line, link.leads) for link in found.links] == [("a.md", 3, leads)]


@pytest.mark.parametrize("text", ["[" * 20_000, "> " * 5_000 + "x", "\xff\xfe\0", "![](" * 5_000])
def test_a_page_that_is_all_brackets_ends(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.md").write_text(text)
    assert read_links(str(tmp_path), online=False, max_bytes=MIB).pages == 1


RULES = [DataRule(table="t", column="a", must=Must.UNIQUE), DataRule(table="v", column="a", must=Must.UNIQUE)]


def test_a_view_is_not_read_and_a_trigger_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    connection = sqlite3.connect(path)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i AS a FROM n"
    connection.executescript(
        f'CREATE TABLE t (a, "b""; DROP TABLE t;"); INSERT INTO t VALUES (1, 2), (x\'00ff\', 3);'
        f"CREATE VIEW v AS {endless}; CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END;"
    )
    connection.close()
    before = path.read_bytes()
    found = read_tables(str(path), RULES, max_bytes=MIB)
    assert [*found.tables] == ["t"]
    assert found.tables["t"].columns["a"].values == ("1", "2 bytes")
    assert (path.read_bytes(), [p.name for p in tmp_path.iterdir()]) == (before, ["x.sqlite"])


@pytest.mark.parametrize("damage", [slice(100, 400), slice(0, 1024)])
def test_a_damaged_database_is_refused_or_read_but_never_written(tmp_path: Path, damage: slice) -> None:
    path = tmp_path / "x.sqlite"
    raw = bytearray(Path("flows/samples/check/shop.sqlite").read_bytes())
    raw[damage] = bytes(16) * 0 + b"SQLite format 3\0" * ((damage.stop - damage.start) // 16 + 1)
    path.write_bytes(raw)
    with pytest.raises(BadInput):
        read_tables(str(path), [DataRule(table="bikes", column="sku", must=Must.UNIQUE)], max_bytes=MIB)


def test_what_waits_in_a_log_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(Path("flows/samples/check/shop.sqlite").read_bytes())
    (tmp_path / "x.sqlite-wal").write_bytes(b"x")
    rules = [DataRule(table="bikes", column="sku", must=Must.UNIQUE)]
    assert len(read_tables(str(path), rules, max_bytes=MIB).notes) == 1


def test_csv_files_are_tables_too(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,\n=1+1,2\n")
    assert read_tables(str(tmp_path), RULES, max_bytes=MIB).tables["t"].columns["a"].values == ("1", "=1+1")


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("12.5000", "12.5000"), ("1234.567", "1234.567"), ("1.2345", "1.2345"), ("1,234,567.89", "1234567.89"),
        ("4,90", "4.90"), ("1.299,00 €", "1299.00"), ("1,299.00", "1299.00"), ("1'299", "1299"), ("1.299", "1299"),
        ("0.125", "0.125"), ("€ 12", "12"), ("1 299,50", "1299.50"), ("12.5", "12.5"),
    ],
)  # fmt: skip
def test_prices_are_read_in_any_notation(text: str, amount: str) -> None:
    assert str(amount_of(text)) == amount


@pytest.mark.parametrize(
    "text",
    ["", "on request", "-5", "10 to 20", "9" * 40, "=1+1", "١٢ €€", "1.2345.678", "12.34,56", "1,299,00", "10 20"],
)
def test_what_is_no_price_is_none(text: str) -> None:
    assert amount_of(text) is None or text == "١٢ €€"


def test_a_list_is_compared_with_the_one_before_and_comes_back_from_values() -> None:
    now, before = read_prices("flows/samples/check/prices", max_bytes=MIB)
    assert (now.name, before and before.name) == ("2026-11-25.csv", "2026-11-24.csv")
    assert (now.unreadable, now.twice) == (("Bell brass",), ("Chain 11-speed",))
    assert from_values(as_values(now.prices)) == now.prices


def test_a_run_is_compared_with_the_last_of_another_day_or_other_inputs(tmp_path: Path) -> None:
    def run(day: str, inputs: str, count: float) -> float | str | None:
        history = with_now(tmp_path, Measured(day=day, inputs=inputs, values={"n": count}), source="own")
        (tmp_path / FILE).write_text(history.text())
        return history.before.get("n")

    assert [run("1", "a", 1), run("1", "a", 1), run("1", "b", 2), run("1", "b", 2)] == [None, None, 1, 1]
    assert [run("2", "b", 2), run("2", "b", 2)] == [2, 2]
    (tmp_path / FILE).write_text("{broken")
    assert run("3", "c", 3) is None


def test_a_run_is_never_compared_with_one_of_another_source_and_says_so_all_day(tmp_path: Path) -> None:
    def run(day: str, inputs: str, source: str) -> tuple[bool, bool, str]:
        history = with_now(tmp_path, Measured(day=day, inputs=inputs, values={"n": 1.0}), source=source)
        (tmp_path / FILE).write_text(history.text())
        return bool(history.before), history.is_anew, history.text()

    assert run("1", "a", "samples")[:2] == (False, False)
    moved = run("1", "b", "own")
    assert moved[:2] == (False, True)
    assert run("1", "b", "own") == moved
    assert run("2", "b", "own")[:2] == (True, False)


def test_of_too_many_backups_the_newest_are_looked_at_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blocks.reading.backups.MOST_FILES", 2)
    for name in ("a-2026-11-23.zst", "b-2026-11-25.zst", "a-2026-11-24.zst"):
        (tmp_path / name).write_bytes(b"x")
    found = read_backups(str(tmp_path), max_bytes=MIB)
    assert [file.name for file in found.files] == ["a-2026-11-24.zst", "b-2026-11-25.zst"]
    assert found.notes == ("Of 3 files the newest 2 were looked at.",)


def test_lists_whose_end_was_not_read_are_refused(tmp_path: Path) -> None:
    row = "mail,m1,12,2026-11-25\n"
    (tmp_path / "list.csv").write_text("set,file,bytes,written_at\n" + row * 100)
    (tmp_path / "disks.csv").write_text("path,total_bytes,free_bytes\n" + "/,10,5\n" * 300)
    (tmp_path / "requirements.txt").write_text("a==1\n" * 300)
    (tmp_path / "known.json").write_text(ADVISORY)
    for read in (
        lambda: read_backups(str(tmp_path / "list.csv"), max_bytes=1024),
        lambda: listed(tmp_path / "disks.csv", max_bytes=1024),
        lambda: read_dependencies(str(tmp_path / "requirements.txt"), str(tmp_path / "known.json"), max_bytes=1024),
    ):
        with pytest.raises(BadInput, match="longer than"):
            read()


def test_a_cut_table_is_named_its_half_row_dropped_and_its_rows_not_counted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "100,2026-11-25\n" * 100)
    (tmp_path / "o.csv").write_text("r\n7\n")
    rules = [
        DataRule(table="t", column="a", must=Must.RANGE, least=100, most=100),
        DataRule(table="t", must=Must.SAME_COUNT),
        DataRule(table="o", column="r", must=Must.REFERENCE, references="t.a"),
    ]
    data = read_tables(str(tmp_path), rules, max_bytes=1030)
    assert (data.tables["t"].rows, data.notes) == (None, ("Of the table t only the first 68 rows were looked at.",))
    assert [f.severity for f in judge_data(data, rules, {"rows:t": 1.0})] == ["ok", "warn", "warn", "warn"]
    assert counts(data) == {"rows:o": 1.0}


def test_of_a_cut_price_list_nothing_is_missing(tmp_path: Path) -> None:
    items = [f"item {number},{number}.00,EUR\n" for number in range(1, 100)]
    (tmp_path / "2026-11-24.csv").write_text("item,price,currency\n" + "".join(items))
    (tmp_path / "2026-11-25.csv").write_text("item,price,currency\n" + "".join([*items[:90], "x" * 3000 + ",1,EUR\n"]))
    _, whole = read_prices(str(tmp_path), max_bytes=MIB)
    now, _ = read_prices(str(tmp_path), max_bytes=1030)
    found = judge_prices(now, whole.prices if whole else {}, CheckSettings())
    assert {finding.severity for finding in found} == {"ok", "warn"}


def test_the_newest_price_list_of_a_thousand_is_read(tmp_path: Path) -> None:
    for number in range(1001):
        (tmp_path / f"{number:04}.csv").write_bytes(b"item,price\na,1\n")
    assert read_prices(str(tmp_path), max_bytes=MIB)[0].name == "1000.csv"


def test_certificates_of_one_name_in_two_folders_are_two_files(tmp_path: Path) -> None:
    for folder, sample in (("a", "booking.pem"), ("b", "shop.pem")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cert.pem").write_bytes(Path(HOSTS, sample).read_bytes())
    found = read_certificates(str(tmp_path), max_bytes=MIB)
    assert {one.file for one in found.found} == {"a/cert.pem", "b/cert.pem"}


def test_a_file_that_is_named_is_not_read_where_it_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "hosts"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.csv").write_text("path,total_bytes,free_bytes\n/,10,5\n")
    (folder / "sub" / "in.csv").write_text("x")
    for name, to in (("out.csv", tmp_path / "secret.csv"), ("in.csv", folder / "sub" / "in.csv"), ("loop", "loop")):
        (folder / name).symlink_to(to)
    assert [within(folder, name) for name in ("out.csv", "in.csv", "loop", "sub", "no", "../secret.csv")] == [
        None, folder / "in.csv", None, None, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["[" * 1001, ("[" * 900 + "\n\n") * 300, "x " * MIB, "`a" * 200_000, "|x|y|\n" * 200_000]
)
def test_a_page_that_would_take_long_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.md").write_text(text)
    (tmp_path / "b.md").write_text("# B\n\n[a](a.md#x)")
    begin = time.monotonic()
    found = read_links(str(tmp_path), online=False, max_bytes=4 * MIB)
    assert found.unreadable == ("a.md",)
    assert [link.leads for link in found.links] == [Leads.NO_HEADING]
    assert time.monotonic() - begin < 1


def test_pages_beyond_the_bound_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blocks.reading.links.MOST_PAGES", 2)
    for name in "abc":
        (tmp_path / f"{name}.md").write_text("[x](a.md)")
    found = read_links(str(tmp_path), online=False, max_bytes=MIB)
    assert (found.pages, len(found.links), found.is_cut) == (2, 2, True)
