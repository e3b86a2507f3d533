"""The jail: what leads out of a folder is not read, the state folder keeps its secrets, odd files hold nobody up."""

import codecs
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.reading.charsets import decoded
from blocks.reading.places import files_in, locate, read_bytes, read_file, read_text, text_of
from governor.errors import BadInput
from governor.settings import Home

TEXT = frozenset({".txt"})


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A source with one honest file, beside a secret."""
    (tmp_path / "secret.txt").write_text("secret")
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    (source / "below" / "a.txt").write_text("a")
    yield source


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in files_in(str(folder), TEXT)]


def test_what_leads_out_is_not_read(folder: Path) -> None:
    (folder / "out.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "up").symlink_to(folder.parent)
    (folder / "round").symlink_to(folder)
    (folder / "loop.txt").symlink_to(folder / "loop.txt")
    (folder / "gone.txt").symlink_to(folder / "nothing")
    (folder / "inside.txt").symlink_to(folder / "below" / "a.txt")
    assert names(folder) == ["below/a.txt", "inside.txt"]


def test_what_is_no_file_is_not_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe.txt")
    (folder / "folder.txt").mkdir()
    with socket.socket(socket.AF_UNIX) as end:
        here = Path.cwd()
        os.chdir(folder)  # the name of a socket may be 107 bytes long
        try:
            end.bind("socket.txt")
        finally:
            os.chdir(here)
        assert names(folder) == ["below/a.txt"]
    for name in ("pipe.txt", "folder.txt"):
        with pytest.raises(BadInput, match=r"no file|directory"):
            read_file(folder / name)
    with pytest.raises(BadInput, match="neither a file nor a folder"):
        read_bytes(str(folder / "pipe.txt"))
    with pytest.raises(BadInput, match="neither a file nor a folder"):
        read_bytes("/dev/zero")


def test_names_that_no_page_could_show_are_left_out(folder: Path) -> None:
    for name in (b"\xff.txt", b"a\nb.txt", b"\x1b[31m.txt", b".hidden.txt", "\u202etxt.txt".encode()):
        (folder / os.fsdecode(name)).write_text("x")
    assert names(folder) == ["below/a.txt"]


def test_a_deep_tree_ends_and_a_full_one_is_cut(folder: Path) -> None:
    deep = folder / "/".join(["d"] * 60)
    deep.mkdir(parents=True)
    (deep / "deep.txt").write_text("x")
    assert names(folder) == ["below/a.txt"]
    for number in range(5):
        (folder / f"{number}.txt").write_text("x")
    assert [p.name for p in files_in(str(folder), TEXT, max_files=3)] == ["0.txt", "1.txt", "2.txt"]


def test_a_huge_file_is_read_to_its_bound(tmp_path: Path) -> None:
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(1 << 40)
    assert len(read_bytes(str(tmp_path / "huge.txt"), max_bytes=1000)) == 1000


@pytest.mark.parametrize("source", ["a\0b", "~nobody-of-this-name/x", "x" * 5000, "\ud800", "no/../such"])
def test_names_that_are_none_are_bad_input(source: str) -> None:
    with pytest.raises(BadInput) as caught:
        locate(source)
    assert str(caught.value).encode()


@pytest.mark.parametrize(
    "source",
    [
        "state:auth", "state:hotdesk.db", "state:prefect", "state:", "state:.", "state:../", "state:out/../auth",
        "state:logs", "state:out/link", "state:out/../../etc", "state:/etc/passwd", "state:samples/../hotdesk.db",
        "state:out/folder/auth",
    ],
)  # fmt: skip
def test_the_state_folder_keeps_its_secrets(hotdesk_home: Home, source: str) -> None:
    hotdesk_home.auth_file.write_text("secret")
    hotdesk_home.database.write_text("secret")
    (hotdesk_home.root / "samples").mkdir()
    (hotdesk_home.out / "link").symlink_to(hotdesk_home.auth_file)
    (hotdesk_home.out / "folder").symlink_to(hotdesk_home.root)
    with pytest.raises(BadInput, match=r"only out and samples are read|No such"):
        locate(source)


def test_nor_is_it_told_under_its_own_path(hotdesk_home: Home, tmp_path: Path) -> None:
    hotdesk_home.auth_file.write_text("secret")
    (tmp_path / "link").symlink_to(hotdesk_home.auth_file)
    for source in (hotdesk_home.auth_file, tmp_path / "link", hotdesk_home.prefect):
        with pytest.raises(BadInput, match="only out and samples"):
            locate(str(source))


def test_what_agents_wrote_is_a_source(hotdesk_home: Home) -> None:
    (hotdesk_home.out / "digest-news").mkdir()
    (hotdesk_home.out / "digest-news" / "a.txt").write_text("a")
    assert read_text("state:out/digest-news/a.txt") == "a"
    assert [path.name for path in files_in("state:out", TEXT)] == ["a.txt"]


RUSSIAN = "Счёт номер 15 от 3 ноября. Спасибо за покупку, до свидания!"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Grüße".encode(), "Grüße"),
        (codecs.BOM_UTF8 + "Grüße".encode(), "Grüße"),
        ("Grüße".encode("utf-16"), "Grüße"),
        (codecs.BOM_UTF16_BE + "Grüße".encode("utf-16-be"), "Grüße"),
        ("Straße 7, 15 €".encode("cp1252"), "Straße 7, 15 €"),
        (RUSSIAN.encode("cp1251"), RUSSIAN),
        (b"", ""),
    ],
)  # fmt: skip
def test_text_is_read_in_the_encoding_it_has(raw: bytes, text: str) -> None:
    assert text_of(raw) == text


@pytest.mark.parametrize(
    ("raw", "declared", "text"),
    [
        ("Grüße, Rüb".encode() + b"\xc3", "", "Grüße, Rüb"),
        (b"Caf\xe9", "", "Café"),
        (b"\\ud800 \xff", "unicode_escape", "\\ud800 ÿ"),
        (b"+2AA- x", "utf-7", "\ufffd x"),
        (b"xn--a\xff", "idna", "xn--aÿ"),
    ],
)
def test_bytes_are_text_whatever_was_declared_and_can_be_encoded_again(raw: bytes, declared: str, text: str) -> None:
    assert decoded(raw, declared) == text
    assert decoded(raw, declared).encode()


def test_no_bytes_fail_as_text() -> None:
    assert len(text_of(bytes(range(256)) * 4)) > 100


def test_a_letter_that_was_cut_does_not_turn_the_rest_into_latin_1(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Grüße" * 10)
    assert read_text(str(tmp_path / "a.txt"), max_bytes=3) == "Gr"
    assert read_text(str(tmp_path / "a.txt"), max_bytes=11) == "GrüßeGrü"
