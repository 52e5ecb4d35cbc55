"""The feed of a partition on any log: for tests, simulation and logs without a server."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from partsong.bus.feed import Receive
from partsong.log.port import Log

__all__ = ["LogFeed", "Served"]

Served = dict[str, "LogFeed"]
"""Which feed is served, by filter; shared by the feeds of all engines on one log."""


class LogFeed:
    """Follows a filter of a log. Of several that share `served`, the one that started last is served."""

    def __init__(self, log: Log, filter: str, served: Served) -> None:
        self._log, self._filter, self._served = log, filter, served
        self._task: asyncio.Task[None] | None = None

    async def taken(self) -> bool:
        """See `Feed.taken`."""
        return self._served.get(self._filter, self) is not self

    async def start(self, after: int, receive: Receive) -> None:
        """See `Feed.start`."""
        await self._end()
        self._served[self._filter] = self
        self._task = asyncio.get_running_loop().create_task(self._follow(after, receive))

    async def stop(self) -> None:
        """See `Feed.stop`."""
        await self._end()
        if self._served.get(self._filter) is self:
            del self._served[self._filter]

    async def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _follow(self, after: int, receive: Receive) -> None:
        async with aclosing(self._log.tail(self._filter, after=after)) as records:
            async for record in records:
                if self._served.get(self._filter) is not self:
                    return
                receive(record)
