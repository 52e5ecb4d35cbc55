"""`RoomWatch`: looks now and then whether the streams that an engine writes to take anything."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from partsong.contracts.errors import Problem

__all__ = ["RoomWatch"]

_log = logging.getLogger("partsong.graph_engine")

_EVERY = 5.0


class RoomWatch:
    """Says which stream is full."""

    def __init__(
        self, full: Callable[[], Awaitable[Sequence[Problem]]], *, every: float = _EVERY
    ) -> None:
        """`full` asks the server."""
        self._full, self._every = full, every
        self._task: asyncio.Task[None] | None = None
        self.problem: Problem | None = None
        """The first that is full; None if none is."""

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._look(), name="room")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _look(self) -> None:
        while True:
            try:
                found = await self._full()
            except Exception:
                _log.exception("not known whether there is room, to be asked again")
            else:
                self._note(found[0] if found else None)
            await asyncio.sleep(self._every)

    def _note(self, problem: Problem | None) -> None:
        if problem is not None and self.problem is None:
            _log.error("no room", extra={"problem": problem.code, "why": problem.message})
        self.problem = problem
