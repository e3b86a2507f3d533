"""Fetching: no inner address at any hop, no more bytes or seconds than allowed, and sites asked as they wish."""

import gzip
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from blocks.reading import fetched
from blocks.reading.fetch import fetch, probe
from blocks.reading.guarded_http import next_hop, target
from blocks.reading.guarded_network import Budget, GuardedBackend, inner, is_own
from governor.errors import BadInput
from governor.settings import Home
from tests.fakes.http_server import Exchange, FakeServer

Page = Callable[[Exchange], None]


def page(body: bytes, status: int = 200, **headers: str) -> Page:
    def send(exchange: Exchange) -> None:
        exchange.send_response(status)
        for name, value in headers.items():
            exchange.send_header(name.replace("_", "-"), value)
        exchange.send_header("Content-Length", str(len(body)))
        exchange.end_headers()
        if exchange.command != "HEAD":
            with suppress(OSError):  # who has read enough hangs up
                exchange.wfile.write(body)

    return send


def moved(where: str) -> Page:
    return page(b"", 302, Location=where)


class FakeSite(FakeServer):
    """A FAKE web site on loopback: pages by path, and what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str]] = []
        self.heads: dict[str, str] = {}
        self._server.RequestHandlerClass.do_HEAD = self._server.RequestHandlerClass.do_GET  # pyright: ignore

    def answer(self, exchange: Exchange) -> None:
        self.asked.append((exchange.command, exchange.path))
        self.heads = dict(exchange.headers.items())
        self.pages.get(exchange.path, page(b"", 404))(exchange)

    @property
    def name(self) -> str:
        return self.address.removeprefix("http://")


@pytest.fixture
def site(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSite]:
    """The site, allowed as a host of the operator's own."""
    with FakeSite() as fake:
        monkeypatch.setenv("HOTDESK_FETCH_HOSTS", f"other.example:81, {fake.name}")
        yield fake


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.9.9", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.7", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
        "fc00::1", "fec0::1", "ff02::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1",
        "64:ff9b::808:808", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "::7f00:1", "2001:db8::1", "nonsense",
    ],
)  # fmt: skip
def test_no_inner_address_is_taken_for_a_public_one(address: str) -> None:
    assert inner(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700:4700::1111"])
def test_public_addresses_are_read(address: str) -> None:
    assert inner(address) == ""


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd", "ftp://x.example/", "gopher://x.example", "http://", "http:///x", "//x.example/",
        "http://user:secret@x.example/", "http://x.example:22/", "http://x.example:6379/", "javascript:alert(1)",
        "http://x.example/\r\nHost: y", "http://[::1", f"http://x.example/{'a' * 9000}", "http://\ud800.example/",
    ],
)  # fmt: skip
def test_what_is_no_ordinary_web_address_is_refused(address: str) -> None:
    with pytest.raises(BadInput) as caught:
        target(address)
    assert "secret" not in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "127.1", "0"]
)
def test_inner_hosts_are_refused_however_they_are_written(hotdesk_home: Home, host: str) -> None:
    with pytest.raises(BadInput, match=r"HOTDESK_FETCH_HOSTS|cannot be read"):
        fetch(f"http://{host}:8080/", max_bytes=100)


def test_one_inner_address_of_a_name_is_enough_to_refuse_it() -> None:
    asked: list[str] = []

    def resolve(host: str, port: int, seconds: float) -> list[str]:
        asked.append(host)
        return ["93.184.216.34", "10.0.0.7"]

    backend = GuardedBackend(Budget(5, 1000), own=True, resolve=resolve)
    with pytest.raises(BadInput, match=r"10\.0\.0\.7 is private"):
        backend.connect_tcp("two-faced.example", 80)
    assert asked == ["two-faced.example"]


def test_own_hosts_are_named_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTDESK_FETCH_HOSTS", "wiki.lan,nas.lan:8000,[fd00::1]:80")
    assert is_own("wiki.lan", 9) and is_own("NAS.lan", 8000) and is_own("fd00::1", 80)
    assert not (is_own("nas.lan", 80) or is_own("a.wiki.lan", 9) or is_own("lan", 9) or is_own("", 80))


def test_a_page_comes_whole_with_our_name_on_the_request(site: FakeSite) -> None:
    site.pages["/"] = page(b"hello")
    assert fetch(site.address + "/", max_bytes=100) == b"hello"
    assert site.heads["User-Agent"].startswith("hotdesk")
    assert site.asked[0] == ("GET", "/robots.txt")


def test_no_more_is_read_than_allowed(site: FakeSite) -> None:
    site.pages["/"] = page(b"x" * 5000)
    assert fetch(site.address + "/", max_bytes=1000) == b"x" * 1000


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:1/", "http://localhost:8080/", "file:///etc/passwd", "http://a@b.example"]
)
def test_a_redirect_leads_nowhere_inside(site: FakeSite, where: str) -> None:
    site.pages["/"] = moved(where)
    with pytest.raises(BadInput):
        fetch(site.address + "/", max_bytes=100)


def test_an_own_host_is_for_who_names_it_not_for_who_redirects_to_it(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeSite() as inside:
        monkeypatch.setenv("HOTDESK_FETCH_HOSTS", f"{site.name},{inside.name}")
        site.pages["/"] = moved(inside.address + "/")
        inside.pages["/"] = page(b"secret")
        with pytest.raises(BadInput, match="for who names it only"):
            fetch(site.address + "/", max_bytes=100)
        assert inside.asked == []


def test_redirects_are_followed_so_far_and_no_further(site: FakeSite) -> None:
    site.pages |= {f"/{n}": moved(f"/{n + 1}") for n in range(9)} | {"/5": page(b"there")}
    assert fetch(site.address + "/0", max_bytes=100) == b"there"
    site.pages["/5"] = moved("/6")
    with pytest.raises(BadInput, match="more than 5 times"):
        fetch(site.address + "/0", max_bytes=100)


def test_what_came_encrypted_does_not_go_on_in_the_open() -> None:
    with pytest.raises(BadInput, match="from https to http"):
        next_hop(target("https://x.example/"), "http://x.example/")
    assert str(next_hop(target("http://x.example/a"), "//y.example/b#c")) == "http://y.example/b"


@pytest.mark.parametrize("packed", [gzip.compress, zlib.compress, lambda b: zlib.compress(b)[2:-4]])
def test_packed_pages_are_unpacked(site: FakeSite, packed: Callable[[bytes], bytes]) -> None:
    kind = "gzip" if packed is gzip.compress else "deflate"
    site.pages["/"] = page(packed(b"hello " * 99), Content_Encoding=kind)
    assert fetch(site.address + "/", max_bytes=10_000) == b"hello " * 99


def test_a_bomb_is_unpacked_no_further_than_wanted(site: FakeSite) -> None:
    import tracemalloc

    site.pages["/"] = page(gzip.compress(bytes(100_000_000), 9), Content_Encoding="gzip")
    tracemalloc.start()
    assert fetch(site.address + "/", max_bytes=50_000) == bytes(50_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(b"x", "gzip, gzip"), (b"x", "br"), (b"no gzip", "gzip"), (gzip.compress(b"hello " * 999)[:-9], "gzip")],
)
def test_what_is_packed_wrongly_is_bad_input(site: FakeSite, body: bytes, encoding: str) -> None:
    site.pages["/"] = page(body, Content_Encoding=encoding)
    with pytest.raises(BadInput, match=r"packed|ends in the middle"):
        fetch(site.address + "/", max_bytes=10_000)


def test_a_site_that_drips_does_not_hold_us(site: FakeSite) -> None:
    """It gives a byte every 20 ms, forever: each read is quick, all of them together are too long."""

    def drip(exchange: Exchange) -> None:
        exchange.start_stream("text/plain")
        try:
            while True:
                exchange.send_chunk("x")
                time.sleep(0.02)
        except OSError:
            return

    site.pages["/"] = drip
    began = time.monotonic()
    with pytest.raises(BadInput, match=r"too long as a whole|timed out"):
        fetch(site.address + "/", max_bytes=10_000, seconds=0.4)
    assert time.monotonic() - began < 5


def test_endless_heads_end(site: FakeSite) -> None:
    site.pages["/"] = page(b"", 200, **{f"X-{n}": "y" * 2000 for n in range(600)})
    with pytest.raises(BadInput):
        fetch(site.address + "/", max_bytes=1000)


@pytest.mark.parametrize("status", [400, 404, 429, 500, 304, 204 + 400])
def test_an_answer_that_is_no_page_is_bad_input(site: FakeSite, status: int) -> None:
    site.pages["/"] = page(b"", status)
    with pytest.raises(BadInput, match=f"HTTP {status}"):
        fetch(site.address + "/", max_bytes=100)


def test_robots_are_asked_and_obeyed(site: FakeSite) -> None:
    site.pages |= {"/robots.txt": page(b"User-agent: hotdesk\nDisallow: /private\n"), "/": page(b"open")}
    assert fetch(site.address + "/", max_bytes=100) == b"open"
    with pytest.raises(BadInput, match=r"robots\.txt"):
        fetch(site.address + "/private/x", max_bytes=100)
    assert [path for _, path in site.asked] == ["/robots.txt", "/"]


def test_a_site_in_trouble_is_left_alone(site: FakeSite) -> None:
    site.pages |= {"/robots.txt": page(b"", 503), "/": page(b"open")}
    with pytest.raises(BadInput, match="in trouble"):
        fetch(site.address + "/", max_bytes=100)


def test_a_page_that_did_not_change_is_not_sent_again(site: FakeSite) -> None:
    def changing(exchange: Exchange) -> None:
        if exchange.headers.get("If-None-Match") == '"one"':
            page(b"", 304)(exchange)
        else:
            page(b"hello", ETag='"one"')(exchange)

    site.pages["/"] = changing
    assert [fetch(site.address + "/", max_bytes=100) for _ in range(3)] == [b"hello"] * 3
    assert site.heads["If-None-Match"] == '"one"'
    assert fetch(site.address + "/", max_bytes=2) == b"he"


@pytest.mark.parametrize("damage", [b"", b"{}\nhello", b"\xff\xfe", None])
def test_a_damaged_copy_is_fetched_anew(site: FakeSite, damage: bytes | None) -> None:
    site.pages["/"] = page(b"hello", ETag='"one"')
    fetch(site.address + "/", max_bytes=100)
    [file] = fetched.folder().iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"!" if damage is None else damage)
    assert fetch(site.address + "/", max_bytes=100) == b"hello"
    assert "If-None-Match" not in site.heads


def test_copies_stay_few(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched, "MOST_FILES", 3)
    for number in range(6):
        fetched.keep(f"http://x.example/{number}", b"x", etag='"e"', last_modified="")
    assert len(list(fetched.folder().iterdir())) == 3
    fetched.keep("http://x.example/evil", b"x", etag='"\nX: y"', last_modified="")
    assert fetched.recall("http://x.example/evil") is None


def test_a_full_disk_keeps_nothing_and_fails_nothing(hotdesk_home: Home) -> None:
    Path(fetched.folder()).write_text("a file where the folder should be")
    fetched.keep("http://x.example/", b"x", etag='"e"', last_modified="")
    assert fetched.recall("http://x.example/") is None


def test_a_probe_says_how_an_address_answers(site: FakeSite) -> None:
    site.pages |= {"/": moved("/new"), "/new": page(b"x" * 100)}
    found = probe(site.address + "/")
    assert (found.status, found.final_address, found.problem) == (200, site.address + "/new", "")
    assert probe(site.address + "/gone").status == 404
    assert all(method == "HEAD" for method, path in site.asked if path != "/gone")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/", "nonsense", "http://x.invalid/", "http://10.0.0.1/", ""])
def test_a_probe_never_raises(hotdesk_home: Home, address: str) -> None:
    found = probe(address, seconds=2)
    assert found.status is None
    assert found.problem
