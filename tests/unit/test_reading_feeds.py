"""Feeds as they come: broken dates, doubles, lying encodings, addresses that are none, and folders of pages."""

from pathlib import Path

import pytest

from blocks.reading.feeds import address, read_feed, without_tracking
from blocks.reading.items import Item
from governor.errors import BadInput

RSS = '<?xml version="1.0"{0}?><rss version="2.0"><channel><link>https://x.example/</link>{1}</channel></rss>'


def entry(title: str = "Title", text: str = "Some text.", link: str = "", more: str = "") -> str:
    where = f"<link>{link}</link>" if link else ""
    return f"<item><title>{title}</title>{where}<description>{text}</description>{more}</item>"


def fed(folder: Path, *entries: str, declared: str = "", encoding: str = "utf-8") -> list[Item]:
    (folder / "a.xml").write_bytes(RSS.format(declared, "".join(entries)).encode(encoding))
    return read_feed(str(folder / "a.xml")).items


def dated(day: str) -> str:
    return f"<pubDate>{day}</pubDate>"


def test_the_newest_comes_first_and_broken_dates_come_last_in_their_order(tmp_path: Path) -> None:
    days = ["yesterday", "Mon, 02 Nov 2026 10:00:00 +0000", "2026-13-45T99:00:00Z", "2026-11-03T10:00:00+01:00", ""]
    items = fed(tmp_path, *(entry(str(n), f"text {n}", more=dated(day)) for n, day in enumerate(days)))
    assert "".join(item.title for item in items) == "31024"
    assert [item.at is None for item in items] == [False, False, True, True, True]


def test_the_same_place_or_the_same_words_count_once(tmp_path: Path) -> None:
    items = fed(
        tmp_path,
        entry("One", "Text one", "https://x.example/1"),
        entry("One again", "Other", "http://www.x.example/1/?utm_source=mail&amp;fbclid=2#top"),
        entry("One", "Text one", "https://x.example/print/1"),
        entry("Two", "Text two", "https://x.example/1?page=2"),
    )
    assert [item.title for item in items] == ["One", "Two"]


def test_the_same_id_with_other_words_is_another_entry(tmp_path: Path) -> None:
    forged = [entry(n, n, more="<guid isPermaLink='false'>same</guid>") for n in ("first", "second")]
    items = fed(tmp_path, *forged)
    assert [item.title for item in items] == ["first", "second"]
    assert len({item.id for item in items}) == 2


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("/a", "https://x.example/a"),
        ("https://y.example/a b", "https://y.example/a%20b"),
        ("https://y.example/a)[b](c", "https://y.example/a%29%5Bb%5D%28c"),
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("file:///etc/passwd", ""),
        ("http://[broken", ""),
        ("", ""),
        ("https://y.example/" + "a" * 2000, ""),
    ],
)
def test_an_address_is_whole_or_none(written: str, shown: str) -> None:
    assert address(written, "https://x.example/feed") == shown


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        ("ref", True),
        ("REF_SRC", True),
        ("utm_term", True),
        ("gclid", True),
        ("reference", False),
        ("refid", False),
        ("gclids", False),
    ],
)
def test_only_what_says_where_a_reader_came_from_goes(name: str, goes: bool) -> None:
    assert (without_tracking(f"https://x.example/a?{name}=3") == "https://x.example/a") is goes


@pytest.mark.parametrize(
    "part",
    [
        "<guid>a&#xD800;b&#x202E;&#x1B;[31m</guid>",
        "<link>https://x.example/&#xD800;</link>",
        "<guid>&#57343;&#x110000;&amp;#xDFFF;</guid>",
        f"<guid>&#{'9' * 5000};</guid>",
    ],
)
def test_an_entry_with_half_a_letter_ends_no_run(tmp_path: Path, part: str) -> None:
    items = fed(tmp_path, entry("Good", "good words"), entry("Odd", "odd words", more=part))
    assert {item.title for item in items} == {"Good", "Odd"}
    for item in items:
        assert item.sha256
        assert not {"\u202e", "\x1b", "\ud800"} & set(item.id + item.url)


def test_tracking_goes_and_what_names_the_page_stays() -> None:
    assert without_tracking("https://x.example/a?id=3&utm_medium=x") == without_tracking("http://X.example/a/?id=3")
    assert without_tracking("https://x.example/a?id=3") != without_tracking("https://x.example/a?id=4")


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        (' encoding="iso-8859-1"', "utf-8"),
        (' encoding="utf-8"', "latin-1"),
        (' encoding="iso-8859-1"', "latin-1"),
        (' encoding="klingon"', "utf-8"),
        ("", "latin-1"),
        ("", "utf-8-sig"),
    ],
)
def test_an_encoding_that_was_declared_wrongly_is_found_out(tmp_path: Path, declared: str, encoding: str) -> None:
    [item] = fed(tmp_path, entry("Straße", "Grüße aus Köln"), declared=declared, encoding=encoding)
    assert (item.title, item.text) == ("Straße", "Grüße aus Köln")


def test_markup_entities_and_scripts_are_no_text(tmp_path: Path) -> None:
    text = "&lt;p&gt;Fish &amp;amp; chips&lt;/p&gt;&lt;script&gt;steal()&lt;/script&gt;"
    [item] = fed(tmp_path, entry("&lt;b&gt;Big&lt;/b&gt; news", text))
    assert item.title.split() == ["Big", "news"]
    assert "Fish & chips" in item.text
    assert "steal" not in item.text
    assert "<" not in item.text


@pytest.mark.parametrize("named", ["http://127.0.0.1:9/feed", "/etc/hostname", "file:///etc/hostname"])
def test_a_file_that_holds_an_address_is_not_a_way_to_it(tmp_path: Path, named: str) -> None:
    (tmp_path / "a.xml").write_text(named)
    with pytest.raises(BadInput, match="no feed entries"):
        read_feed(str(tmp_path / "a.xml"))


def test_entities_that_grow_or_read_files_stay_small_and_empty(tmp_path: Path) -> None:
    grown = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
    head = f'<!DOCTYPE rss [<!ENTITY e0 "aaaaaaaaaa">{grown}<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    (tmp_path / "a.xml").write_text(
        RSS.format("", "")
        .replace("<rss", f"{head}<rss")
        .replace("</channel>", f"{entry('T', '&e9; &f; end')}</channel>")
    )
    [item] = read_feed(str(tmp_path / "a.xml")).items
    assert len(item.text) <= 1200
    assert "root:" not in item.text


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\x00", b"<rss><channel></channel></rss>", b"{}", b"<a>" * 5000, b"%PDF-1.4"]
)
def test_what_is_no_feed_is_bad_input(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(BadInput):
        read_feed(str(tmp_path / "a.xml"))


@pytest.mark.parametrize("tag", ["<b>", "&lt;b&gt;", "&#60;b>", "&#x3C;b>", "<a ", "<!--", "<item><b>"])
def test_tags_that_nobody_closes_keep_nobody_busy(tmp_path: Path, tag: str) -> None:
    with pytest.raises(BadInput, match="closes none"):
        fed(tmp_path, entry("One", tag * 40_000))


def test_a_feed_that_breaks_off_gives_what_came_before(tmp_path: Path) -> None:
    whole = RSS.format("", entry("One", "Text one") + entry("Two", "Text two"))
    (tmp_path / "a.xml").write_text(whole[: whole.index("Text two")])
    assert "One" in {item.title for item in read_feed(str(tmp_path / "a.xml")).items}


def test_an_entry_without_words_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(RSS.format("", "<item><link>https://x.example/1</link></item>" + entry("Two")))
    found = read_feed(str(tmp_path / "a.xml"))
    assert [item.title for item in found.items] == ["Two"]
    assert found.problems == ["entry 1: neither a title nor a text"]


def test_pages_tell_title_address_and_day_by_themselves(tmp_path: Path) -> None:
    (tmp_path / "2026-11-02-a.md").write_text("# Head\n\nSome **words** and a [link](https://y.example/).\n")
    (tmp_path / "b.md").write_text("---\ntitle: Told\nurl: https://x.example/b\ndate: 2026-11-03\n---\nMore words.\n")
    (tmp_path / "c.html").write_text(
        "<html><head><title>Page</title><link rel=canonical href='javascript:x'><style>p{}</style></head>"
        "<body><nav>Menu</nav><p>Visible.</p><script>no()</script></body></html>"
    )
    items = read_feed(str(tmp_path)).items
    assert [(i.id, i.title, i.url) for i in items] == [
        ("b.md", "Told", "https://x.example/b"),
        ("2026-11-02-a.md", "Head", ""),
        ("c.html", "Page", ""),
    ]
    assert [i.text for i in items] == ["More words.", "Some words and a link.", "Visible."]


def test_front_matter_is_no_way_to_grow_and_links_lead_nowhere_else(tmp_path: Path) -> None:
    bomb = "a: &a [x,x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{f'*{chr(97 + n)},' * 9}]\n" for n in range(9))
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "a.md").write_text(f"---\n{bomb}title: !!python/object:os.system x\n---\nWords.\n")
    (tmp_path / "secret.md").write_text("SECRET")
    (tmp_path / "pages" / "b.md").symlink_to(tmp_path / "secret.md")
    assert [item.text for item in read_feed(str(tmp_path / "pages")).items] == ["Words."]


def test_a_folder_without_pages_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "empty.md").write_text("")
    with pytest.raises(BadInput, match="holds no"):
        read_feed(str(tmp_path))
