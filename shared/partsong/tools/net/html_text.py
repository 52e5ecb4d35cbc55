"""HTML as readable text: headings, lists, tables, links; no scripts, no styles.

The scanner goes over the page once and never back, so that a page takes time in proportion to its size. Python's
html.parser does not: `"<a " * 8000`, 24 kB, keeps version 3.11.7 busy for 14 seconds.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from urllib.parse import urljoin

__all__ = ["Page", "readable"]

_BEGIN = re.compile(r"<(?=[a-zA-Z/!?])")
_NAME = re.compile(r"</?([a-zA-Z][a-zA-Z0-9:-]*)")
_VALUE_OR_END = re.compile(r"=\s*[\"']|>")
_HREF = re.compile(r"\shref\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>\"']+))", re.IGNORECASE)
_REFERENCE = re.compile(
    r"&(?:#[0-9]{1,8}(?![0-9])|#[xX][0-9a-fA-F]{1,8}(?![0-9a-fA-F])|[a-zA-Z][a-zA-Z0-9]{1,31});?"
)
_SPACE = re.compile(r"\s+")
_BLANK_LINES = re.compile(r"\n{3,}")

_RAW = frozenset({"script", "style", "title", "textarea", "iframe", "noembed", "noframes", "xmp"})
"""Elements in which a tag is no tag, up to their own end."""
_DROPPED = frozenset({"svg", "math", "template", "object", "canvas", "audio", "video"})
_PARAGRAPHS = frozenset(
    [
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "dl",
        "table",
        "pre",
        "blockquote",
        "article",
        "section",
        "main",
        "header",
        "footer",
        "nav",
    ]
)
_LINES = frozenset(
    [
        "br",
        "div",
        "li",
        "tr",
        "dt",
        "dd",
        "hr",
        "form",
        "option",
        "figure",
        "figcaption",
        "address",
        "details",
        "summary",
    ]
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_LONGEST_LINK = 500
_MOST_TAGS = 200_000
_MOST_LINKS = 2_000


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says."""

    title: str
    text: str


def readable(source: str, base: str) -> Page:
    """The page's text; links become absolute with the URL it came from."""
    reader = _Reader(source, base)
    reader.read()
    lines = "\n".join(line.rstrip() for line in "".join(reader.pieces).split("\n"))
    return Page(reader.title, _BLANK_LINES.sub("\n\n", lines).strip("\n"))


class _Reader:
    """Where in the page we are, and what has been said so far."""

    def __init__(self, source: str, base: str) -> None:
        self._source, self._base = source, base
        self.title = ""
        self.pieces: list[str] = [""]
        self._verbatim = 0
        self._dropped: tuple[str, int] | None = None
        self._link: tuple[int, str] | None = None
        self._links = 0

    def read(self) -> None:
        """All of it, up to a number of tags that no page for people has. What is not closed goes on to the end."""
        at = 0
        for _ in range(_MOST_TAGS):
            begin = _BEGIN.search(self._source, at)
            self._text(self._source[at : begin.start() if begin else None])
            if begin is None or (at := self._markup(begin.start())) < 0:
                return

    def _markup(self, begin: int) -> int:
        """Where it goes on after what begins with `<` here; -1 if nothing comes after it."""
        source = self._source
        if source.startswith("<!--", begin):
            return _after(source, "-->", begin + 4)
        if source.startswith(("<!", "<?"), begin):
            return _after(source, ">", begin + 2)
        named = _NAME.match(source, begin)
        if named is None:
            self._text("<")
            return begin + 1
        end = _end_of_tag(source, named.end())
        if end < 0:
            return -1
        name = named[1].lower()
        if source[begin + 1] == "/":
            self._closed(name)
        elif name in _RAW:
            return self._raw(name, end)
        else:
            self._opened(name, source[named.end() : end])
        return end

    def _raw(self, name: str, at: int) -> int:
        closing = re.compile(f"</{name}", re.IGNORECASE | re.ASCII).search(self._source, at)
        inside = self._source[at : closing.start() if closing else None]
        if name == "title" and not self.title and self._dropped is None:
            self.title = _SPACE.sub(" ", _unescaped(inside)).strip()[:200]
        return _end_of_tag(self._source, closing.end()) if closing else -1

    def _opened(self, name: str, attributes: str) -> None:
        if self._dropped is not None:
            within, depth = self._dropped
            self._dropped = (within, depth + (name == within))
        elif name in _DROPPED and not attributes.endswith("/>"):
            self._dropped = (name, 1)
        else:
            self._break(name)
            self._say(_HEADINGS.get(name, "- " if name == "li" else ""))
            self._verbatim += name == "pre"
            if name == "a":
                self._link_begins(attributes)

    def _closed(self, name: str) -> None:
        if self._dropped is not None:
            within, depth = self._dropped
            depth -= name == within
            self._dropped = (within, depth) if depth else None
            return
        if name == "a":
            self._link_ends()
        elif name in ("td", "th"):
            self._say(" | ")
        elif name == "pre":
            self._verbatim = max(0, self._verbatim - 1)
        self._break(name)

    def _break(self, name: str) -> None:
        if name in _PARAGRAPHS:
            self.pieces.append("\n\n")
        elif name in _LINES and not self.pieces[-1].endswith("\n"):
            self.pieces.append("\n")

    def _text(self, text: str) -> None:
        if self._dropped is not None or not text:
            return
        text = _unescaped(text)
        if not self._verbatim:
            text = _SPACE.sub(" ", text)
            if self.pieces[-1].endswith((" ", "\n")) or self.pieces[-1] == "":
                text = text.removeprefix(" ")
        self._say(text)

    def _say(self, text: str) -> None:
        if text:
            self.pieces.append(text)

    def _link_begins(self, attributes: str) -> None:
        self._link_ends()
        self._links += 1
        found = _HREF.search(attributes[: 4 * _LONGEST_LINK])
        if found is None or self._links > _MOST_LINKS:
            return
        href = _unescaped(found[1] or found[2] or found[3] or "").strip()
        try:
            target = urljoin(self._base, href)
        except ValueError:
            return
        if href.startswith("#") or not target.startswith(("http://", "https://")):
            return
        if len(target) <= _LONGEST_LINK and not any(sign in target for sign in " \n()"):
            self._link = (len(self.pieces), target)

    def _link_ends(self) -> None:
        if self._link is None:
            return
        begin, target = self._link
        self._link = None
        said = "".join(self.pieces[begin:])
        if said.strip():
            space = " " if said[-1].isspace() else ""
            self.pieces[begin:] = [f"[{said.strip()}]({target}){space}"]


def _end_of_tag(source: str, at: int) -> int:
    """After the tag's `>`, which is not one in a quoted value; -1 if there is none."""
    while (found := _VALUE_OR_END.search(source, at)) is not None:
        if found[0] == ">":
            return found.end()
        at = _after(source, found[0][-1], found.end())
        if at < 0:
            return -1
    return -1


def _after(source: str, mark: str, at: int) -> int:
    found = source.find(mark, at)
    return found + len(mark) if found >= 0 else -1


def _unescaped(text: str) -> str:
    """With references read one by one: all at once, a number of many digits would be an error."""
    return _REFERENCE.sub(lambda found: html.unescape(found[0]), text) if "&" in text else text
