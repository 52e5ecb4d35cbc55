"""Suspects: calls that may have killed their worker run alone at first, so that their neighbours do not die with them.

After a crash nobody knows which of a worker's calls was the reason. Each of them comes again, and one after the other is
made alone, for a moment that grows with the workers that have died of it; calls that nobody suspects wait that long, for
one suspect and never for the line of them: a map of 64 slow items beside a poisonous one would stop all others for half an
hour.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

__all__ = ["ALONE", "Suspects"]

ALONE = (0.25, 2.0, 15.0)
"""Seconds for which a call is alone that one, two, or more workers may have died of."""


class Suspects:
    """Lets the jobs of one worker begin: suspects in the order in which they come, the others between two of them."""

    def __init__(self, alone: tuple[float, ...] = ALONE) -> None:
        self._alone = alone
        self._door = asyncio.Lock()
        self._is_shut = False
        self._waiting: list[asyncio.Future[None]] = []
        """Those that nobody suspects; they run as soon as they are let in, before they have heard of it."""
        self._running = 0
        self._ended = asyncio.Event()

    @asynccontextmanager
    async def admitted(self, deaths: int) -> AsyncGenerator[None]:
        """Run a job inside, that so many workers may have died of.

        A suspect waits until the worker has nothing else in hand, no longer than it is to be alone: who has been at it
        for that long may be at it for hours.
        """
        opens = None
        if deaths:
            opens = await self._shut(self._alone[min(deaths, len(self._alone)) - 1])
            self._running += 1
        elif self._is_shut:
            await self._let_in()
        else:
            self._running += 1
        try:
            yield
        finally:
            self._end()
            if opens is not None:
                opens()

    async def _let_in(self) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                self._end()
            raise

    def _end(self) -> None:
        self._running -= 1
        self._ended.set()

    def _open(self) -> None:
        """Let those in that wait, before the next suspect shuts them out."""
        self._is_shut = False
        for waiting in self._waiting:
            if not waiting.done():
                self._running += 1
                waiting.set_result(None)
        self._waiting.clear()
        self._door.release()

    async def _shut(self, seconds: float) -> Callable[[], None]:
        """Let nobody in for so many seconds, or until what is returned is called."""
        await self._door.acquire()
        self._is_shut = True
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while self._running:
                        self._ended.clear()
                        await self._ended.wait()
        except BaseException:
            self._open()
            raise
        shut = True

        def opens() -> None:
            nonlocal shut
            timer.cancel()
            if shut:
                shut = False
                self._open()

        timer = asyncio.get_running_loop().call_later(seconds, opens)
        return opens
