"""What a JSON Schema is made of: how large it is with its references resolved, and which patterns it has."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

from pydantic import JsonValue

__all__ = ["parts_of", "patterns_in", "references_in"]

_NAMED = frozenset(
    {"$defs", "definitions", "dependentSchemas", "dependencies", "patternProperties", "properties"}
)
"""Keywords that hold schemas by name."""
_DATA = frozenset({"const", "default", "enum", "examples"})
"""Keywords that hold any JSON: a `$ref` in there refers to nothing."""
_APART = frozenset({"$defs", "definitions"})
"""What counts only where it is referred to."""
_FAR = ("$dynamicRef", "$recursiveRef", "$id", "id", "$anchor", "$dynamicAnchor")
"""Keywords by which a reference may lead anywhere."""


def parts_of(schema: JsonValue) -> int | None:
    """So many schemas and values a value is compared with at the most, level for level; None if the schema contains itself."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()
    todo: list[tuple[JsonValue, list[JsonValue] | None]] = [(schema, None)]
    while todo:
        part, inner = todo.pop()
        if inner is not None:
            open_.discard(id(part))
            sizes[id(part)] = 1 + _listed(part) + sum(sizes[id(x)] for x in inner)
        elif id(part) in open_:
            return None
        elif id(part) not in sizes:
            found = _inner(part, schema)
            if found is None:
                return None
            open_.add(id(part))
            todo.append((part, found))
            todo += [(x, None) for x in found if id(x) not in sizes]
    return sizes[id(schema)]


def patterns_in(schema: JsonValue) -> list[str]:
    """All patterns of a schema and of its definitions, those of property names too."""
    found: list[str] = []
    todo = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            if isinstance(pattern := part.get("pattern"), str):
                found.append(pattern)
            if isinstance(named := part.get("patternProperties"), dict):
                found += named
            todo += _schemas(part, frozenset())
    return found


def references_in(schema: JsonValue) -> Iterator[tuple[str, str]]:
    """Every `$ref` of a schema: where it stands, and what it says."""
    todo: list[tuple[str, JsonValue]] = [("", schema)]
    while todo:
        at, part = todo.pop()
        if isinstance(part, dict):
            if isinstance(reference := part.get("$ref"), str):
                yield f"{at}$ref", reference
            todo += [(f"{at}{key}.", inner) for key, inner in part.items() if key not in _DATA]
        elif isinstance(part, list):
            todo += [(f"{at}{i}.", inner) for i, inner in enumerate(part)]


def _listed(part: JsonValue) -> int:
    """So many values a value is compared with, one after the other."""
    listed = part.get("enum") if isinstance(part, dict) else None
    return len(listed) if isinstance(listed, list) else 0


def _inner(part: JsonValue, root: JsonValue) -> list[JsonValue] | None:
    if not isinstance(part, dict):
        return []
    if any(isinstance(part.get(key), str) for key in _FAR) and (
        part is not root or "$id" not in part
    ):
        return None
    found = list(_schemas(part, _APART))
    if isinstance(reference := part.get("$ref"), str):
        if not reference.startswith("#"):
            return None
        try:
            found.append(_at(root, reference[1:]))
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return found


def _schemas(part: dict[str, JsonValue], but: frozenset[str]) -> Iterator[JsonValue]:
    for key, inner in part.items():
        if key in _DATA or key in but:
            continue
        if isinstance(inner, dict):
            yield from inner.values() if key in _NAMED else (inner,)
        elif isinstance(inner, list):
            yield from (x for x in inner if isinstance(x, dict))


def _at(root: JsonValue, pointer: str) -> JsonValue:
    """What a JSON pointer leads to.

    Raises:
        KeyError, IndexError, ValueError, TypeError: nothing.
    """
    found = root
    steps = unquote(pointer).split("/")
    if steps.pop(0):
        raise KeyError(pointer)
    for step in steps:
        key = step.replace("~1", "/").replace("~0", "~")
        found = found[int(key)] if isinstance(found, list) else found[key]  # type: ignore[index]
    return found
