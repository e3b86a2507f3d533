"""Outside text is data: made plain before it enters a prompt, and fenced there. Pure.

Everything here takes time in proportion to the text, whatever the text is.
"""

import re
import unicodedata
from html.parser import HTMLParser

# Tokens by which chat templates end a turn or begin one: in somebody's mail they would end our prompt. `<|...|>` is
# ChatML's and Llama 3's (with wide bars DeepSeek's), `<start_of_turn>` Gemma's, `[INST]` and `<<SYS>>` Llama 2's.
SPECIAL_TOKENS = re.compile(
    r"<[|｜][^|｜>\n]{0,80}[|｜]>|</?(?:s|bos|eos|pad|unk|think|tool_call|tool_response|start_of_turn|end_of_turn)>"
    r"|\[/?INST\]|<</?SYS>>",
    re.IGNORECASE,
)
HALF_TOKEN = re.compile(r"<(?=[|｜])")
# Escape sequences of terminals (ECMA-48): CSI, strings (OSC, DCS, SOS, PM, APC) up to their end, and the short ones.
TERMINAL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# What is not seen, or turns the direction of what is (Unicode TR 36 and TR 39): joiners and spaces of no width, marks
# of direction and their isolates, fillers, variation selectors, tags, marks of annotation and of music.
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
LINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
CONTROL = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f]|{INVISIBLE.pattern}")
SURROGATE = re.compile("[\ud800-\udfff]")
# The lines around outside text in a prompt; text that holds them, or what looks like them, loses them.
FENCE_BEGIN, FENCE_END = "[text]", "[end of text]"
FENCE_LOOK = re.compile(r"[\[［【〔⟦〚⁅]([^\[\]［］【】〔〕⟦⟧〚〛⁅⁆\n]{4,60})[\]］】〕⟧〛⁆]")
FENCE_WORDS = frozenset({"text", "endoftext"})
LOOKALIKES = str.maketrans("еотхапԁгіѕсοτχε", "eotxandriscotxe")
# Figures with what stands between them.
NUMERIC = frozenset("0123456789.,:'")
PART_OF_NUMBER = re.compile(r"(?<![0-9.,:'])[0-9.,:']{1,}\Z")
# Markup of more than this before the text is none that a page or mail has.
MARKUP_CHARACTERS = 1 << 18
MOST_TAG_CHARACTERS = 2000
NO_TAG = re.compile(rf"<(?!/?[A-Za-z][^<>]{{0,{MOST_TAG_CHARACTERS}}}>)")
DECLARATION = re.compile(r"<[!?][^<>]*>")
# Elements whose content nobody reads; and those that part no words.
UNREAD = frozenset({"script", "style", "template", "noscript"})
PARTING_NONE = (
    "a abbr b bdi bdo big cite code del dfn em font i ins kbd mark q s samp small span strong sub sup tt u var"
)
INLINE = frozenset(PARTING_NONE.split())


class _Text(HTMLParser):
    """The words of a page, without what no reader sees."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unread = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in UNREAD and not self._unread:
            self._unread = tag
        self._part(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._part(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._unread:
            self._unread = ""
        self._part(tag)

    def handle_data(self, data: str) -> None:
        if not self._unread:
            self.parts.append(data)

    def _part(self, tag: str) -> None:
        if tag not in INLINE:
            self.parts.append(" ")


def without_markup(text: str) -> str:
    """The words of a text that may be HTML, its entities as characters. Broken HTML is text."""
    if "<" not in text and "&" not in text:
        return text
    # The parser is quadratic in what is opened and never closed; so it only gets tags that are closed, and short.
    closed = NO_TAG.sub("&lt;", DECLARATION.sub(" ", _without_comments(text)))
    parser = _Text()
    try:
        parser.feed(closed)
        parser.close()
    except (AssertionError, ValueError):  # it asserts what no page promises
        return closed.replace("<", " ")
    return "".join(parser.parts)


def _without_comments(text: str) -> str:
    kept, at = list[str](), 0
    while (begin := text.find("<!--", at)) >= 0 and (end := text.find("-->", begin)) >= 0:
        kept += [text[at:begin], " "]
        at = end + 3
    return "".join([*kept, text[at:]])


def visible(text: str) -> str:
    """The text as it is seen, and no special tokens of chat templates in it. Lines stay lines."""
    return _without_tokens(seen(text))


def seen(text: str) -> str:
    """The text without sequences for terminals, without what is invisible, and with nothing that cannot be encoded."""
    if text.isascii() and text.isprintable():
        return text
    plain = INVISIBLE.sub("", TERMINAL.sub("", LINES.sub("\n", text)))
    return SURROGATE.sub("\ufffd", CONTROL.sub(" ", plain))


def _without_tokens(text: str) -> str:
    """What is left of a token that stood around another one is broken too."""
    return HALF_TOKEN.sub("< ", SPECIAL_TOKENS.sub(" ", text))


def plain_line(text: str, limit: int = 200) -> str:
    """One line of what is seen, at most `limit` characters: names, lines of logs and code, where `<` is no markup."""
    return cut(" ".join(visible(text[: limit * 16]).split()), limit)


def as_data(text: str, limit: int = 1200) -> str:
    """Outside text for a prompt: one paragraph, no markup, no special tokens, at most `limit` characters."""
    words = without_markup(text[: max(MARKUP_CHARACTERS, 4 * limit)])
    return cut(" ".join(visible(words).split()), limit)


def cut(text: str, limit: int) -> str:
    """The first `limit` characters at most; half a number would be another number, so none is cut in two."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    return (PART_OF_NUMBER.sub("", head) if PART_OF_NUMBER.search(head) and text[limit] in NUMERIC else head).rstrip()


def fence(text: str) -> str:
    """The text between two lines that it cannot contain: what a prompt says about it ends there, whatever it says."""
    inside = FENCE_LOOK.sub(_no_fence, visible(text))
    return f"{FENCE_BEGIN}\n{inside}\n{FENCE_END}"


def _no_fence(found: re.Match[str]) -> str:
    """What looks like a fence is named; the words stay in any bracket around it, so no new fence comes of it."""
    folded = unicodedata.normalize("NFKD", found[1]).casefold().translate(LOOKALIKES)
    letters = "".join(letter for letter in folded if letter.isalpha())
    return "(quoted mark)" if letters in FENCE_WORDS else found[0]
