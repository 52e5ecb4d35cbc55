"""Functions of a module that not every tool-runner has loaded."""

from __future__ import annotations

from pydantic import JsonValue

__all__ = ["found"]


async def found(state: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {"found": True}
