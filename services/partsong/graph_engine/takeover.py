"""A takeover: which of the runs that an owner has found open in its partition it has not looked after yet."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine

from partsong.contracts.errors import PartsongError
from partsong.contracts.state.state import RunState
from partsong.runtime import clock

__all__ = ["Takeover", "has_place"]

_log = logging.getLogger("partsong.graph_engine")

_PATIENCE = 60.0
"""Seconds for which the others wait for a run whose turn comes to nothing."""
_AGAIN = 30.0
"""Seconds until it is said again: where it was noted, it may have been lost."""


def has_place(state: RunState) -> bool:
    """Whether a run is in its thread's line."""
    return state.options.thread is not None and state.graph is not None and not state.ended


class Takeover:
    """Says it, when all of them have been looked after."""

    def __init__(
        self,
        tell: Callable[[], Awaitable[None]],
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        """`tell` may fail, and is tried again; `spawn` lets it happen."""
        self._tell, self._spawn = tell, spawn
        self._left: set[str] | None = None
        """None if the partition is not owned, or was not delivered up to its owner's announcement."""
        self._until = self._again = 0.0

    def begin(self, run_ids: Collection[str]) -> None:
        """The partition has been taken, and these runs are open."""
        self._left, self._again = set(run_ids), 0.0
        self._until = clock.monotonic() + _PATIENCE
        self.look()

    def drop(self) -> None:
        """The partition is given back: say nothing."""
        self._left = None

    def done(self, run_id: str) -> None:
        """A run has been looked after, or there is nothing to be done for it."""
        if self._left:
            self._left.discard(run_id)
            self.look()

    def look(self) -> None:
        """Say it, if it is time; called now and then, because a run may come to nothing again and again."""
        now = clock.monotonic()
        if self._left is None or (self._left and now < self._until) or now < self._again:
            return
        if self._left:
            told = {"runs": len(self._left), "run": min(self._left)}
            _log.warning("runs not waited for any more, their turns fail", extra=told)
            self._left.clear()
        self._again = now + _AGAIN
        self._spawn(self._told())

    async def _told(self) -> None:
        try:
            await self._tell()
        except PartsongError as error:
            _log.info("takeover not noted, to be tried again", extra={"why": str(error)})
            self._again = 0.0
