"""Pages: what our flows write stays as it is; nothing else that is active is left, by the word of a real parser."""

import time
from html import unescape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from blocks.writing.markdown import table
from blocks.writing.markdown_proof import BARE_ADDRESS, Allowed, examine, parser
from blocks.writing.safe_markdown import tame

OK = "https://ok.example/a"
LINKS = frozenset(
    {OK, "https://ok.example/b.", "http://x.example/?a=1&b=2", "https://en.example/A_(b", "mailto:a@x.example"}
)
PAGE = f"""# Digest

> capped: a first round works on few items with short answers.

12 messages: 3 urgent, 9 other. 1 < 2 & 3 > 2; AT&T pays 5 % * 3.

- **[A title]({OK})**: A sentence. *(demo model, 135M)*
- [x](http://x.example/?a=1&b=2), [y](https://en.example/A_(b)), <{OK}>, see {OK}.
- Up: [top](#top), [a](mailto:a@x.example)
  - deeper `<b>` and ``a ` b``

1. one
2. two

{table(["count", "template"], [[3, "`GET <path> http://other.example/`"], [1, "a | b"], ["<b>", "x"]])}

```diff
-<a href="http://evil.example">x</a>
+![x](http://evil.example/p.png)
```

~~~xml
<!-- c --><img src="x"/>
~~~

> why: heavy was asked
"""


def test_a_page_of_ours_stays_as_it_is() -> None:
    assert tame(PAGE, links=LINKS) == PAGE


@pytest.mark.parametrize(
    "attack",
    [
        "![x](http://evil.example/p.png)",
        "![x][r]\n\n[r]: http://evil.example",
        f"![x]({OK})",
        "![x](data:image/png;base64,AA)",
        "![x](file:///etc/passwd)",
        "[![x](http://evil.example)](http://evil.example)",
        "![x](  http://evil.example )",
        "[x](http://evil.example)",
        "[x](<http://evil.example>)",
        "[x](http://evil.example 'title')",
        "[x](\nhttp://evil.example\n)",
        "[x](//evil.example)",
        "[x](/etc/passwd)",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html,x)",
        "[x](java&#115;cript:alert(1))",
        "[x](javascript&colon;alert(1))",
        "[x](vbscript:x)",
        "[x](file:///etc/passwd)",
        "[x][r]\n\n[r]: http://evil.example",
        "[r]\n\n[r]: <javascript:x>",
        "> [r]:\n> http://evil.example\n\n[r]",
        "[a\n]:\nhttp://evil.example\n\n[a]",
        "- [r]: http://evil.example\n\n[r]",
        "[x](https://ok.example/a?evil=1)",
        "[x](https://ok.example@evil.example/a)",
        "<http://evil.example>",
        "http://evil.example",
        "HTTP://EVIL.EXAMPLE/x",
        "www.evil.example",
        "ftp://evil.example/x",
        "http\\://evil.example",
        "http&#58;//evil.example",
        "http:&#47;&sol;evil.example",
        "www&period;evil.example",
        f"[http://evil.example]({OK})",
        "[a](http://evil.example)(http://evil.example)",
        f"[a](http://evil.example)[b]({OK}/../x)",
        "<img src=http://evil.example>",
        "<script>alert(1)</script>",
        "<b onclick=x>y</b>",
        "<!-- hidden -->",
        "<?php x ?>",
        "<!DOCTYPE x>",
        "<![CDATA[x]]>",
        "<svg/onload=x>",
        "</td></table>",
        "<a\nhref='http://evil.example'>x</a>",
        "<div>\n\n*x*\n\n</div>",
        "&#60;script>alert(1)</script>",
        "    <script>x</script>",
        "\t<img src=x>",
        "x `a\nb` <img src=http://evil.example> `c`",
        "| a |\n|---|\n| `a | <img src=x> ` |",
        "```\nopen <b>",
        "`` <b> `",
        "\\`<b>\\`",
        "\\`` <b> ``",
        "a `b\\` <img src=x> `",
        "\x1b]8;;http://evil.example\x07x\x1b]8;;\x07",
        "ht\u200btp://evil.example",
        "\u202ehttp://evil.example",
        "h\ud800ttp://x.example",
        "a[^1]\n\n[^1]: http://evil.example",
        "[x]( http://evil.example )",
        "*[x](http://evil.example)*",
        "[x\\](http://evil.example)",
        "> > ![x](http://evil.example)",
        "- - ![x](http://evil.example)",
        "# ![x](http://evil.example)",
        "http://ok.example/a.evil.example",
        "[`x](http://evil.example)`](http://evil.example)",
        "~~~ x\n<b>\n~~",
        "```\n<b>\n``` x\n<img src=http://evil.example>",
    ],
)
def test_nothing_active_is_left(attack: str) -> None:
    for page in (attack, f"{PAGE}\n\n{attack}", f"{PAGE}\n\n{attack}\n\n{PAGE}", f"- x: {attack}\n- y"):
        tamed = tame(page, links=LINKS)
        assert_tame(tamed)
        outside = "".join(part for part in rendered(tamed))
        assert "<script" not in outside
        assert tame(tamed, links=LINKS) == tamed


def rendered(text: str) -> list[str]:
    """What a viewer makes of the page, code left out."""
    html = parser().render(text)
    return [part.split("</code>")[-1] for part in html.split("<code")]


def assert_tame(text: str) -> None:
    """By the parser's tokens, and by a look at the HTML that it makes."""
    allowed = Allowed.of(LINKS)
    found = examine(text, allowed)
    assert not found.forbidden, text
    assert not found.unclosed, text
    html = " ".join(rendered(text))
    assert "<img" not in html
    assert 'href="' not in html.replace('href="#', "").replace('href="http', "").replace('href="mailto', "")
    for address in BARE_ADDRESS.findall(html):
        assert allowed(unescape(address.replace("&lt;", " ").replace("&quot;", " ")).split('"')[0].split()[0]), text


MARKUP = st.lists(
    st.sampled_from(
        [
            "[",
            "]",
            "(",
            ")",
            "!",
            "<",
            ">",
            "`",
            "``",
            "```",
            "~~~",
            "\\",
            "&#58;",
            "&",
            "|",
            "\n",
            "\n\n",
            " ",
            "    ",
            "- ",
            "> ",
            "*",
            "_",
            "#",
            ":",
            "http://evil.example",
            OK,
            "www.e.example",
            "x",
            "a b",
            "<b>",
            "</b>",
            "<!--",
            "-->",
            "[r]: ",
            "| a | b |\n| --- | --- |\n",
            "![x](",
            "javascript:",
            "'",
            '"',
            "=\n",
            "---\n",
            "1. ",
            "\x1b[",
            "\u200b",
            "+",
        ]
    ),
    max_size=30,
).map("".join)


@given(MARKUP)
@example("`a`![")
@example("[a](x)(y)")
@example("&" * 20)
def test_what_was_tamed_is_tame(text: str) -> None:
    once = tame(text, links=LINKS)
    assert_tame(once)
    assert tame(once, links=LINKS) == once


@pytest.mark.parametrize(
    "unit", [">", "- ", "[", "*", "`", "![", "](", "<", "[a](", "> - ", "&#1;", "www.", "`a``b", "\n- a\n "]
)
def test_no_page_takes_long(unit: str) -> None:
    began = time.process_time()
    tame((unit * 40_000)[:40_000], links=LINKS)
    assert time.process_time() - began < 3


def test_what_cannot_be_proven_is_shown_as_code() -> None:
    page = tame("[" * 20_000 + "<b>~~~~~~~~~~~~~~~~~~~~~~", links=LINKS)
    assert page.splitlines()[0] == page.splitlines()[-1]
    assert page.startswith("~~~")
    assert_tame(page)
    assert tame(page, links=LINKS) == page
