"""Scrubbing: an engine reads its partitions again and compares them with their seals, for no server tells of a flipped bit.

First quickly what lies between the last seal but one and the checkpoint of each partition that was taken, then slowly
all that lies before. What is found is told to the log's monitor, and so to every service.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol

from partsong.contracts.damage import Damaged
from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.seals import Place
from partsong.graph_engine.checkpoints import Checkpoint
from partsong.graph_engine.processor import Processor
from partsong.log.scrub import Target

__all__ = ["Scrubber", "Scrubs"]

_log = logging.getLogger("partsong.graph_engine")

_AGAIN = 30.0
"""Seconds until a partition that could not be read is tried again."""


_UNSEALED = 100_000
"""Records of a log in which a partition without two seals is not scrubbed quickly: that would be all of the log."""


class Scrubs(Protocol):
    """Reads partitions up to where their checkpoints stand, and compares them; see `partsong.log.scrub`."""

    def __call__(
        self, targets: Sequence[Target], *, slowly: bool
    ) -> AsyncGenerator[tuple[int, Damaged], None]:
        """Which are damaged, and how.

        Raises:
            Unavailable: the server did not answer.
        """
        ...


_Taken = tuple[Processor, Checkpoint]


class Scrubber:
    """Scrubs each partition once after it was taken: the newest part at once, all of it at leisure."""

    def __init__(self, scrub: Scrubs, report: Callable[[Damaged], Awaitable[None]]) -> None:
        self._scrub, self._report = scrub, report
        self._quick: asyncio.Queue[_Taken] = asyncio.Queue()
        self._slow: asyncio.Queue[_Taken] = asyncio.Queue()
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
        checkpoint = processor.checkpoint
        if checkpoint.sealed.before.seq or 0 < checkpoint.seq <= _UNSEALED:
            self._quick.put_nowait((processor, checkpoint))
        elif checkpoint.seq:
            self._slow.put_nowait((processor, checkpoint))

    async def _go(self, todo: asyncio.Queue[_Taken], *, slowly: bool) -> None:
        """Scrub all that wait together, again and again."""
        while True:
            waiting = [await todo.get()]
            while not todo.empty():
                waiting.append(todo.get_nowait())
            owned = {p.partition: (p, found) for p, found in waiting if p.owned}
            try:
                bad = await self._scrubbed(owned, slowly=slowly)
            except PartsongError as error:
                told = {"partitions": len(owned), "problem": error.problem.code}
                _log.info("not scrubbed, to be tried again", extra=told)
                await asyncio.sleep(_AGAIN)
                for one in owned.values():
                    todo.put_nowait(one)
                continue
            if not slowly:
                for partition in owned.keys() - bad:
                    self._slow.put_nowait(owned[partition])

    async def _scrubbed(self, owned: Mapping[int, _Taken], *, slowly: bool) -> set[int]:
        """Scrub partitions; those that are damaged."""
        bad = set[int]()
        targets = [
            _target(p.partition, checkpoint, slowly=slowly) for p, checkpoint in owned.values()
        ]
        async with aclosing(self._scrub(targets, slowly=slowly)) as found:
            async for partition, damage in found:
                bad.add(partition)
                await self._found(owned[partition][0], damage)
        return bad

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


def _target(partition: int, checkpoint: Checkpoint, *, slowly: bool) -> Target:
    sealed = checkpoint.sealed
    base = Place() if slowly else sealed.before
    return Target(partition, checkpoint.seq, base, sealed.place, checkpoint.open)
