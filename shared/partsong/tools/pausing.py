"""`Pausing`: how a tool runs code that calls other tools: it stops at each call, and goes on when the result is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

__all__ = ["Answer", "Pausing", "Stopped"]


@dataclass(frozen=True, slots=True)
class Stopped:
    """The code waits for a tool; nothing of it runs meanwhile, and any process may go on with it."""

    tool: str
    args: Mapping[str, JsonValue]
    snapshot: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What the tool gave, or why it gave nothing."""

    result: JsonValue = None
    error: str | None = None


class Pausing(Protocol):
    """Runs code; `tools` are those it may call, with the names of their parameters in order. Both block their thread."""

    def begin(
        self, args: Mapping[str, object], tools: Mapping[str, Sequence[str]]
    ) -> object | Stopped:
        """Run the code, to its end or to its first call of a tool."""
        ...

    def go_on(
        self, snapshot: bytes, answer: Answer, tools: Mapping[str, Sequence[str]]
    ) -> object | Stopped:
        """Go on where it stopped."""
        ...
