"""Shortening: a large value as a person wants to see it first, with what was left out counted in its place."""

from __future__ import annotations

import json
from collections.abc import Mapping

__all__ = ["shortened"]

_LEAST = 60
"""Characters that every part has; how many parts are shown follows from it."""
_DEEPEST = 12
"""Levels of nesting that are shown as such."""


def shortened(value: object, most: int, *, depth: int = _DEEPEST) -> object:
    """The value with about `most` characters as JSON: parts share the room, and what has none is counted.

    A value that fits is given back as it is; what lies deeper than `depth` levels is a text.
    """
    text = _json(value)
    if len(text) <= most:
        return value
    short = _parts(value, most, depth - 1) if depth else None
    if short is not None and len(_json(short)) <= 2 * most:
        return short
    # One text, or with keys so long, or nested so deeply, that its parts cannot share the room.
    said = value if isinstance(value, str) else text
    return f"{said[:most]}… ({len(said):,} characters)"


def _parts(value: object, most: int, depth: int) -> object:
    if isinstance(value, Mapping):
        shown = [*value.items()][: max(1, most // _LEAST)]
        room = max(_LEAST, most // len(shown))
        found = {str(key): shortened(part, room, depth=depth) for key, part in shown}
        left = len(value) - len(shown)
        return {**found, "…": f"{left:,} more"} if left else found
    if isinstance(value, list | tuple):
        listed = [*value[: max(1, most // _LEAST)]]
        room = max(_LEAST, most // len(listed))
        rest = len(value) - len(listed)
        return [
            *(shortened(part, room, depth=depth) for part in listed),
            *([f"… {rest:,} more"] if rest else []),
        ]
    return None


def _json(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
