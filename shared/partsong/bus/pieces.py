"""Pieces of values: cuts what is big into JSON texts that stay the same while a value grows, and joins them again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic_core import to_json

__all__ = ["PIECE", "cut", "grouped", "joined"]

PIECE = 32 * 1024
"""What is longer is a piece of its own."""


def cut(value: object) -> tuple[list[bytes], object]:
    """The pieces of a value, and what is left of it: the end of a list, else all or nothing of it.

    Lists are cut from their beginning, so that one that grows at its end keeps its pieces.
    """
    match value:
        case str():
            return ([to_json(value)], None) if len(value) > PIECE else ([], value)
        case dict():
            text = to_json(value)
            return ([text], None) if len(text) > PIECE else ([], value)
        case list() | tuple():
            pieces: list[bytes] = []
            at = 0
            for count, inner in _blocks(map(to_json, value)):
                pieces.append(b"[" + inner + b"]")
                at += count
            return pieces, value[at:]
        case _:
            return [], value


def grouped(members: Mapping[str, object]) -> tuple[list[bytes], dict[str, object]]:
    """Objects of many small members each, and the members that are left."""
    pieces: list[bytes] = []
    at = 0
    for count, inner in _blocks(map(_member, members, map(to_json, members.values()))):
        pieces.append(b"{" + inner + b"}")
        at += count
    return pieces, dict(list(members.items())[at:])


def joined(rest: object, parts: Sequence[tuple[str | None, bytes]]) -> bytes:
    """The JSON of a value: its pieces by key, and what was left of it."""
    own = [text for key, text in parts if key is None]
    keys = dict.fromkeys(key for key, _ in parts if key is not None)
    if keys or (own and own[0].startswith(b"{")):
        small = dict(rest) if isinstance(rest, dict) else {}
        texts = [text[1:-1] for text in own]
        for key in keys:
            mine = [(None, text) for at, text in parts if at == key]
            texts.append(_member(key, joined(small.pop(key, None), mine)))
        return (
            b"{" + b",".join([*texts, *(_member(k, to_json(v)) for k, v in small.items())]) + b"}"
        )
    if isinstance(rest, list):
        return b"[" + b",".join([*(text[1:-1] for text in own), *map(to_json, rest)]) + b"]"
    return own[0] if own else to_json(rest)


def _member(key: str, text: bytes) -> bytes:
    return json.dumps(key).encode() + b":" + text


def _blocks(texts: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """How many texts, and what they are together; what is left at the end is no block."""
    block: list[bytes] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size > PIECE:
            yield len(block), b",".join(block)
            block, size = [], 0
