"""A problem as it is sent: a text without end, or half a character in one, keeps no answer from being read."""

from __future__ import annotations

from partsong.contracts.errors import Problem

__all__ = ["legible"]

_MOST = 4096
"""Characters of one text: a problem quotes what others have sent."""


def legible(problem: Problem) -> Problem:
    """The problem in texts that every program reads, cut short where they are long."""
    texts = {name: getattr(problem, name) for name in ("code", "message", "where", "fix")}
    changed = {
        name: cut
        for name, text in texts.items()
        if text is not None and (cut := _cut(text)) != text
    }
    return problem.model_copy(update=changed) if changed else problem


def _cut(text: str) -> str:
    if not text.isascii():
        text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
