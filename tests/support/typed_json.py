"""Whether JSON is what a vendor's published types say: for the SDKs' `TypedDict`s, of which no unknown key is let by."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

import typing_extensions
from pydantic import JsonValue

__all__ = ["misfits"]

_WRAPPERS = (typing.Required, typing.NotRequired, typing.Annotated, typing_extensions.ReadOnly)
_LISTS = (list, tuple, Sequence, Iterable)


def misfits(value: JsonValue, kind: object, where: str = "body") -> list[str]:
    """What of a value its type does not know, each with its place; empty if it fits."""
    origin = typing.get_origin(kind)
    args = typing.get_args(kind)
    if origin in _WRAPPERS:
        return misfits(value, args[0], where)
    if origin in {typing.Union, types.UnionType}:
        return _in_union(value, args, where)
    if origin in {typing.Literal, typing_extensions.Literal}:
        return [] if value in args else [f"{where}: {value!r} is none of {args}"]
    if origin in _LISTS or kind in _LISTS:
        return _in_list(value, args, where)
    if typing_extensions.is_typeddict(kind):
        return list(_in_fields(value, typing.cast("type", kind), where))
    if origin in {dict, Mapping}:
        return _in_map(value, args, where)
    return _plain(value, kind, where)


def _in_union(value: JsonValue, args: tuple[object, ...], where: str) -> list[str]:
    best: list[str] | None = None
    for each in args:
        tried = misfits(value, each, where)
        if not tried:
            return []
        best = tried if best is None or len(tried) < len(best) else best
    return best or []


@cache
def _fields(kind: type) -> dict[str, object]:
    return typing_extensions.get_type_hints(kind, include_extras=True)


def _in_list(value: JsonValue, args: tuple[object, ...], where: str) -> list[str]:
    if not isinstance(value, list):
        return [f"{where}: {value!r} is no list"]
    inner = args[0] if args else object
    return [s for i, each in enumerate(value) for s in misfits(each, inner, f"{where}[{i}]")]


def _in_map(value: JsonValue, args: tuple[object, ...], where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: {value!r} is no object"]
    return [s for key, each in value.items() for s in misfits(each, args[1], f"{where}.{key}")]


def _in_fields(value: JsonValue, kind: type, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: {value!r} is no object"
        return
    known = _fields(kind)
    for key in value.keys() - known.keys():
        yield f"{where}.{key}: not a field of {kind.__name__}"
    for key, annotation in known.items():
        if key in value:
            yield from misfits(value[key], annotation, f"{where}.{key}")
        elif typing.get_origin(annotation) is typing_extensions.Required:
            yield f"{where}.{key}: missing in {kind.__name__}"


def _plain(value: JsonValue, kind: object, where: str) -> list[str]:
    if kind in {object, typing.Any}:
        return []
    if kind is type(None) or kind is None:
        return [] if value is None else [f"{where}: {value!r} is not null"]
    if kind is float and isinstance(value, int):
        return []
    if isinstance(kind, type) and isinstance(value, kind):
        return []
    return [f"{where}: {value!r} is no {kind}"]
