"""The feed of a partition on any log: for tests, simulation and logs without a server."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from partsong.bus.feed import Receive
from partsong.log.port import Log

__all__ = ["LogFeed"]


class LogFeed:
    """Follows a filter of a log."""

    def __init__(self, log: Log, filter: str) -> None:
        self._log, self._filter = log, filter
        self._task: asyncio.Task[None] | None = None

    async def start(self, after: int, receive: Receive) -> None:
        """See `Feed.start`."""
        await self.stop()
        self._task = asyncio.get_running_loop().create_task(self._follow(after, receive))

    async def stop(self) -> None:
        """See `Feed.stop`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _follow(self, after: int, receive: Receive) -> None:
        async with aclosing(self._log.tail(self._filter, after=after)) as records:
            async for record in records:
                receive(record, record.body)
