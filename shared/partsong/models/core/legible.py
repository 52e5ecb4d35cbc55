"""Legibility: what a model or its server wrote, without what would keep a chunk from being sent or stored.

A vendor's JSON may escape a NUL, or half a character that no UTF-8 has, and nest as deep as it likes. Neither is a
reason to lose a turn: a sign stands in the place of what nobody can read.
"""

from __future__ import annotations

import re

from pydantic import JsonValue

from partsong.contracts.foreign.size import depth_within, unsayable
from partsong.contracts.plain import DEEPEST
from partsong.contracts.talk.chunks import Chunk, Citation, Raw, ReasoningState, ServerTool, Text

__all__ = ["legible"]

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


_TOO_DEEP = f"[left out: nested deeper than {DEEPEST} levels]"


def _legible(value: JsonValue) -> JsonValue:
    match value:
        case str():
            return _UNREADABLE.sub(_SIGN, value)
        case list():
            return [_legible(inner) for inner in value]
        case dict():
            return {_UNREADABLE.sub(_SIGN, key): _legible(inner) for key, inner in value.items()}
        case _:
            return value
