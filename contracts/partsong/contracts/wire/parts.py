"""Packed hints: big values of a hint are named by their hash and lie in the bucket of hints, once per content.

Whoever cannot unpack a hint must not take it for a whole one, so the header says it where a reader of before looks for
a body: it finds none under that name, and leaves the hint to another worker.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue

__all__ = ["PACKED", "Packed", "Part"]

PACKED = "parts:"
"""What the header `Partsong-Blob` of a packed hint says."""


class Part(BaseModel):
    """A piece of a hint that lies beside it.

    Lists under one place follow each other, and what the hint itself has there comes last; objects are laid together.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    field: str
    """The field of the hint that it belongs to."""
    name: str
    """`sha256:<hex>` of its JSON."""
    key: str | None = None
    """The key of the field that it belongs to; without one it belongs to the field itself."""


class Packed(BaseModel):
    """A hint without its big values, and where those lie."""

    model_config = ConfigDict(frozen=True, extra="allow")

    hint: dict[str, JsonValue]
    parts: tuple[Part, ...] = ()
    """In their order."""
