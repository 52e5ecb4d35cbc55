"""Tool arguments: raw text is either one complete JSON object or it is no call.

The SDKs' own accumulators repair broken JSON: `{"amount": 10` becomes `{}` or `{"amount": 10}`, and a tool runs with
arguments that the model never gave. Here nothing is repaired.
"""

from __future__ import annotations

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.plain import plain, read_json
from partsong.contracts.talk.chunks import ToolEnd

__all__ = ["parse_arguments", "tool_end"]


def parse_arguments(raw: str) -> dict[str, JsonValue] | None:
    """The arguments, or None if the text is not exactly one JSON object that passes the gate for values.

    No text at all means no arguments.
    """
    if not raw.strip():
        return {}
    try:
        value = plain(read_json(raw), "arguments", "tool.bad_arguments")
    except (ValueError, InvalidInput):
        return None
    return value if isinstance(value, dict) else None


def tool_end(call_id: str, name: str, raw: str, *, i: int = 0) -> ToolEnd:
    """The chunk that ends a tool call, with its arguments if they are sound."""
    args = parse_arguments(raw)
    return ToolEnd(i=i, id=call_id, name=name, raw=raw, ok=args is not None, args=args)
