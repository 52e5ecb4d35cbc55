"""Legibility: what a model or its server wrote, without what would keep a chunk from being sent or stored.

A vendor's JSON may escape a NUL, or half a character that no UTF-8 has, and nest as deep as it likes. Neither is a
reason to lose a turn: a sign stands in the place of what nobody can read.
"""

from __future__ import annotations

import re

from pydantic import JsonValue

from partsong.contracts.foreign.size import depth_within, unsayable
from partsong.contracts.plain import DEEPEST
from partsong.contracts.talk.chunks import (
    Chunk,
    Citation,
    Raw,
    Reasoning,
    ReasoningState,
    ServerTool,
    Text,
    ToolArgs,
)

__all__ = ["Legible", "legible"]

_UNREADABLE = re.compile("[\0\ud800-\udfff]")
_SIGN = "\N{REPLACEMENT CHARACTER}"


def legible(chunk: Chunk) -> Chunk:
    """Return the chunk as everybody can read it; nearly always, that is itself."""
    if isinstance(chunk, Text) and chunk.text.isascii() and "\0" not in chunk.text:
        return chunk  # most are
    match chunk:
        case ServerTool() | Citation() | Raw() if not depth_within(chunk.data, DEEPEST):
            return chunk.model_copy(update={"data": _TOO_DEEP})
        case ReasoningState() if not depth_within(chunk.opaque, DEEPEST):
            return chunk.model_copy(update={"opaque": _TOO_DEEP})
        case _:
            pass
    fields = dict(chunk)
    if unsayable(fields) is None:
        return chunk
    return chunk.model_copy(update={name: _legible(value) for name, value in fields.items()})


class Legible:
    """Makes the chunks of one stream legible, and whole again the signs that a server has cut in two between them."""

    def __init__(self) -> None:
        self._half: Text | Reasoning | ToolArgs | None = None

    def __call__(self, chunk: Chunk) -> tuple[Chunk, ...]:
        """What can be shown now: the second half of a sign is waited for, as long as nothing else comes."""
        half, self._half = self._half, None
        whole = _whole(half, chunk) if half is not None else chunk
        before = () if half is None or whole is not None else (legible(half),)
        chunk = chunk if whole is None else whole
        if (
            isinstance(chunk, Text | Reasoning | ToolArgs)
            and "\ud800" <= chunk.text[-1:] <= "\udbff"
        ):
            self._half = chunk.model_copy(update={"text": chunk.text[-1]})
            if not (rest := chunk.text[:-1]):
                return before
            chunk = chunk.model_copy(update={"text": rest})
        return (*before, legible(chunk))


def _whole(half: Text | Reasoning | ToolArgs, chunk: Chunk) -> Chunk | None:
    """A chunk with the half of a sign that came before it; None if it is of another block."""
    if not isinstance(chunk, Text | Reasoning | ToolArgs):
        return None
    if (half.kind, half.i, getattr(half, "id", "")) != (
        chunk.kind,
        chunk.i,
        getattr(chunk, "id", ""),
    ):
        return None
    return chunk.model_copy(update={"text": _joined(half.text + chunk.text)})


def _joined(text: str) -> str:
    """The text with halves that stand side by side as the sign that they are."""
    return _PAIR.sub(
        lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text
    )


_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_TOO_DEEP = f"[left out: nested deeper than {DEEPEST} levels]"


def _legible(value: JsonValue) -> JsonValue:
    match value:
        case str():
            value = _joined(value)
            return _UNREADABLE.sub(_SIGN, value)
        case list():
            return [_legible(inner) for inner in value]
        case dict():
            return {_UNREADABLE.sub(_SIGN, key): _legible(inner) for key, inner in value.items()}
        case _:
            return value
