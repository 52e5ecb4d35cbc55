"""JSON that is kept compressed, in buckets and files: taken back only if it is no larger than what we keep."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

__all__ = ["packed", "packed_text", "text_of", "unpacked"]

_LARGEST = 256 * 1024 * 1024
"""Bytes of what was compressed: a kilobyte of somebody else's may say that it is a gigabyte."""


def text_of(value: Mapping[str, Any]) -> str:
    """An object as JSON; in ASCII, which half a character cannot break."""
    return json.dumps(value, separators=(",", ":"))


def packed_text(text: str) -> bytes:
    """What `text_of` made, compressed."""
    return zlib.compress(text.encode(), 1)


def packed(value: Mapping[str, Any]) -> bytes:
    """An object as JSON, compressed."""
    return packed_text(text_of(value))


def unpacked(body: bytes) -> dict[str, Any]:
    """The object that `packed` was given.

    Raises:
        ValueError: it is something else, or larger than what is ever kept.
    """
    taking = zlib.decompressobj()
    try:
        text = taking.decompress(body, _LARGEST)
        if not taking.eof:
            raise ValueError(f"it is cut off, or has more than {_LARGEST} bytes")
        value = json.loads(text)
    except (zlib.error, RecursionError) as error:
        raise ValueError(str(error)) from None
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__}, no object")  # noqa: TRY004  # not ours
    return value
