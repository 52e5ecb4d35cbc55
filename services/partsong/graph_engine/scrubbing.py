"""Scrubbing: an engine reads its partitions again and compares them with their seals, for no server tells of a flipped bit.

First quickly what lies between the last seal but one and the checkpoint of each partition that was taken, then slowly
all that lies before. What is found is told to the log's monitor, and so to every service.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from partsong.contracts.damage import Damaged
from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.seals import Place
from partsong.graph_engine.checkpoints import Checkpoint
from partsong.graph_engine.processor import Processor

__all__ = ["Scrubber", "Scrubs"]

_log = logging.getLogger("partsong.graph_engine")

_AGAIN = 30.0
"""Seconds until a partition that could not be read is tried again."""


class Scrubs(Protocol):
    """Reads a partition up to where a checkpoint stands, and compares it; see `partsong.log.scrub`."""

    async def __call__(
        self, partition: int, checkpoint: Checkpoint, *, base: Place, slowly: bool
    ) -> Damaged | None:
        """What is wrong with it.

        Raises:
            Unavailable: the server did not answer.
        """
        ...


class Scrubber:
    """Scrubs each partition once after it was taken: the newest part at once, all of it at leisure."""

    def __init__(self, scrub: Scrubs, report: Callable[[Damaged], Awaitable[None]]) -> None:
        self._scrub, self._report = scrub, report
        self._quick: asyncio.Queue[tuple[Processor, Checkpoint]] = asyncio.Queue()
        self._slow: asyncio.Queue[tuple[Processor, Checkpoint]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to scrub what is taken."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._go(self._quick, slowly=False), name="scrub"),
            loop.create_task(self._go(self._slow, slowly=True), name="slow scrub"),
        ]

    async def stop(self) -> None:
        """Scrub no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def taken(self, processor: Processor) -> None:
        """A partition was taken, at its checkpoint."""
        if processor.checkpoint.seq:
            self._quick.put_nowait((processor, processor.checkpoint))

    async def _go(self, todo: asyncio.Queue[tuple[Processor, Checkpoint]], *, slowly: bool) -> None:
        while True:
            processor, checkpoint = await todo.get()
            if not processor.owned:
                continue
            base = Place() if slowly else checkpoint.sealed.before
            try:
                found = await self._scrub(processor.partition, checkpoint, base=base, slowly=slowly)
            except PartsongError as error:
                told = {"partition": processor.partition, "problem": error.problem.code}
                _log.info("not scrubbed, to be tried again", extra=told)
                await asyncio.sleep(_AGAIN)
                todo.put_nowait((processor, checkpoint))
                continue
            if found is not None:
                await self._found(processor, found)
            elif not slowly:
                self._slow.put_nowait((processor, checkpoint))

    async def _found(self, processor: Processor, found: Damaged) -> None:
        told = {"partition": processor.partition, "why": found.why, "runs": len(found.runs)}
        _log.error("partition damaged", extra=told)
        problem = Problem(
            code="log.damaged",
            message=f"records of the run are lost or changed: {found.why}",
            where=f"partition {processor.partition}",
            fix="run `partsong log verify`, then restore the log from a mirror or a backup",
            fault="platform",
        )
        processor.runs.set_aside(found.runs, problem)
        await self._report(found)
