"""Options in a request: what an agent sets of the vendor's own fields stands beside what the turn says, key by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

__all__ = ["with_options"]


def with_options(fields: Mapping[str, Any], options: Mapping[str, JsonValue]) -> dict[str, Any]:
    """The fields of a body that options set; an object keeps what else the turn says in it."""
    flat = {name: value for name, value in options.items() if name != "extra_body"}
    more = options.get("extra_body")
    if isinstance(more, dict):
        flat = {**more, **flat}
    return {name: _both(fields.get(name), value) for name, value in flat.items()}


def _both(said: object, value: JsonValue) -> object:
    return {**said, **value} if isinstance(said, dict) and isinstance(value, dict) else value
