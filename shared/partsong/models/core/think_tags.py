"""`<think>…</think>` at the beginning of an answer: what a model thought, where its server does not say so itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from partsong.contracts.talk.chunks import Reasoning, Text

__all__ = ["ThinkTags"]

_OPEN, _CLOSE = "<think>", "</think>"


class ThinkTags:
    """Tells thought and answer apart while they come; a tag may be split anywhere, and counts only at the beginning."""

    def __init__(self) -> None:
        self._state: Literal["before", "thinking", "after", "plain"] = "before"
        self._held = ""
        """What may be the beginning of a tag, or is white space around one."""

    def read(self, text: str) -> Iterator[Text | Reasoning]:
        """One more piece."""
        self._held += text
        if self._state == "before":
            yield from self._begin()
        if self._state == "thinking":
            yield from self._think()
        if self._state == "after":
            self._held = self._held.lstrip()
            self._state = "plain" if self._held else "after"
        if self._state == "plain" and self._held:
            yield Text(text=self._held)
            self._held = ""

    def ended(self) -> Iterator[Text | Reasoning]:
        """What was held back, now that no more comes."""
        held, self._held = self._held, ""
        if held and self._state == "thinking":
            yield Reasoning(text=held)
        elif held and self._state != "after":
            yield Text(text=held)

    def _begin(self) -> Iterator[Text | Reasoning]:
        said = self._held.lstrip()
        if said.startswith(_OPEN):
            self._state, self._held = "thinking", said[len(_OPEN) :]
        elif not _OPEN.startswith(said):
            self._state = "plain"
        yield from ()

    def _think(self) -> Iterator[Text | Reasoning]:
        thought, closed, rest = self._held.partition(_CLOSE)
        if closed:
            self._state, self._held = "after", rest
        else:
            kept = next(
                (n for n in range(len(_CLOSE) - 1, 0, -1) if thought.endswith(_CLOSE[:n])), 0
            )
            thought, self._held = thought[: len(thought) - kept], thought[len(thought) - kept :]
        if thought:
            yield Reasoning(text=thought)
