"""`Equipped`: agents that bring their own keys and tools, as builders and players know them. Imports nothing."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from partsong.engine.local.engine import Perform

__all__ = ["Equipped"]


@runtime_checkable
class Equipped(Protocol):
    """An agent that brings its own keys and tools."""

    def performing(self) -> AbstractAsyncContextManager[Perform]:
        """What makes the calls of a node that is this agent."""
        ...
