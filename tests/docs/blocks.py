"""Fenced blocks of a Markdown document, and what the document says it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Block", "Document", "documents", "read"]

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")
_TITLE = re.compile(r"""\btitle=(?P<quote>["'])(?P<title>.+?)(?P=quote)""")
_NEEDS = re.compile(r"<!--\s*needs:\s*(?P<what>[\w, -]+?)\s*-->")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    path: Path
    line: int
    """Line of the block's first content line in the document, from 1."""
    language: str
    """First word of the info string; empty if there is none."""
    title: str | None
    """`title="shop/triage.py"`: the block is also a file of that name in the document's folder."""
    text: str

    @property
    def place(self) -> str:
        """`README.md:42`, as an editor opens it."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Document:
    """One Markdown file."""

    path: Path
    needs: frozenset[str]
    """What `<!-- needs: platform -->` comments ask for."""
    blocks: tuple[Block, ...]


def documents(root: Path) -> list[Path]:
    """The documents whose blocks must run: the README and all of docs/."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def read(path: Path) -> Document:
    """Parse one document.

    Raises:
        ValueError: a fence is never closed.
    """
    text = path.read_text("utf-8")
    needs = {what.strip() for match in _NEEDS.finditer(text) for what in match["what"].split(",")}
    return Document(path, frozenset(needs), tuple(_blocks(path, text.splitlines())))


def _blocks(path: Path, lines: list[str]) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        number += 1
        if opening is None:
            continue
        start = number
        while number < len(lines) and not _closes(lines[number], opening["fence"]):
            number += 1
        if number == len(lines):
            raise ValueError(f"{path}:{start}: the block that opens here is never closed")
        yield _block(path, start, opening, lines[start:number])
        number += 1


def _closes(line: str, fence: str) -> bool:
    stripped = line.strip()
    return stripped.startswith(fence) and set(stripped) == {fence[0]}


def _block(path: Path, start: int, opening: re.Match[str], lines: list[str]) -> Block:
    indent = len(opening["indent"])
    words = opening["info"].split(maxsplit=1)
    title = _TITLE.search(opening["info"])
    return Block(
        path=path,
        line=start + 1,
        language=words[0] if words else "",
        title=title["title"] if title else None,
        text="".join(f"{line[min(indent, len(line) - len(line.lstrip())) :]}\n" for line in lines),
    )
