"""How large a JSON value is, as far as anybody needs to know."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["at_most", "depth_within", "size_within", "unsayable"]


def at_most(value: object, most: int) -> bool:
    """Whether a JSON value has at most `most` bytes; see `size_within`."""
    return size_within(value, most) is not None


def size_within(value: object, most: int) -> int | None:
    """The bytes of a JSON value, counted in passing: 8 for what is no text, a little for structure; None above `most`.

    It stops as soon as it is sure, so that a large value costs no more than `most`.
    """
    left, waiting = most, [value]
    while waiting:
        found = waiting.pop()
        match found:
            case str():
                left -= len(found) + 8
            case dict():
                left -= 8 + sum(map(len, found)) + 8 * len(found)
                if left >= 0:
                    waiting += found.values()
            case list():
                left -= 8 + 8 * len(found)
                if left >= 0:
                    waiting += found
            case _:
                left -= 8
        if left < 0:
            return None
    return most - left


def depth_within(value: object, most: int) -> bool:
    """Whether lists and objects are nested at most `most` levels; nothing is called once per level."""
    level: list[object] = [value] if isinstance(value, dict | list) else []
    for _ in range(most):
        if not level:
            return True
        level = [inner for outer in level for inner in _inside(outer)]
    return not level


def _inside(value: object) -> Iterable[object]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (x for x in inner if isinstance(x, dict | list)) if inner else ()


def unsayable(value: object) -> str | None:
    """The first text in a value that programs in C would read as another: it has a NUL, or a lone surrogate."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        match found:
            case str():
                if "\0" in found:
                    return f"a text with NUL ({found[:40]!r})"
                if not found.isascii() and _SURROGATE.search(found):
                    return f"a text with half a character ({found[:40]!r})"
            case dict():
                waiting += found.keys()
                waiting += found.values()
            case list():
                waiting += found
            case _:
                pass
    return None


_SURROGATE = re.compile("[\ud800-\udfff]")
