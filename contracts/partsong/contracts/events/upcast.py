"""Old events, read as new ones: a chain of pure steps, one per type and version. Stored events are never edited."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import JsonValue

__all__ = ["UPCASTERS", "Upcaster", "upcast"]

Upcaster = Callable[[dict[str, JsonValue]], dict[str, JsonValue]]

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""(type, v) → the step that turns version v into v + 1. Empty until the first incompatible change."""


def upcast(
    raw: dict[str, JsonValue], steps: Mapping[tuple[str, int], Upcaster] = UPCASTERS
) -> dict[str, JsonValue]:
    """The event in its newest version; untouched if it is current or unknown."""
    while True:
        kind, version = raw.get("type"), raw.get("v")
        if (
            not isinstance(kind, str)
            or not isinstance(version, int)
            or (step := steps.get((kind, version))) is None
        ):
            return raw
        raw = {**step(raw), "type": kind, "v": version + 1}
