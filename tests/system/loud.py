"""A function that prints more in one line than a pipe or a line reader holds."""

from __future__ import annotations

from pydantic import JsonValue

LENGTH = 200_000


def shout(_state: dict[str, JsonValue]) -> None:
    print("a very long line ".ljust(LENGTH, "!"), flush=True)
