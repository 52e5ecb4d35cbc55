"""Counts in words: `1 record`, `2 records`. Texts that people read agree with their numbers."""

from __future__ import annotations

__all__ = ["number_of", "verb_of"]


def number_of(count: int, noun: str) -> str:
    """A count and its noun, which takes an s unless it is one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def verb_of(count: int, one: str, more: str) -> str:
    """The verb that goes with a count."""
    return one if count == 1 else more
