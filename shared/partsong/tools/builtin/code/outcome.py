"""How running code ends, or where it waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import JsonValue

__all__ = ["Finished", "Outcome", "Paused"]


@dataclass(frozen=True, slots=True)
class Finished:
    """The code ran to its end."""

    value: JsonValue
    """Of the last line, if that is an expression; text if JSON cannot hold it."""
    printed: str = ""
    """On standard output."""


@dataclass(frozen=True, slots=True)
class Paused:
    """The code called a function and waits for its result, for as long as it takes."""

    function: str
    args: Mapping[str, JsonValue]
    snapshot: bytes
    """All there is to go on from, in any process that has the same version of the sandbox.

    It holds the state of an interpreter: load only what your own log kept.
    """


Outcome: TypeAlias = Finished | Paused
