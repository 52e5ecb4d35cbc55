"""Scrubbing: an engine reads its partitions again and compares them with their seals, for no server tells of a flipped bit.

First quickly what lies between the last seal but one and the checkpoint of each partition that was taken, if that is
not much of the log; then slowly all of them from their beginning. What is found is told to the log's monitor, and so to every service.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.wire.damage import Damaged
from partsong.contracts.wire.seals import Place
from partsong.graph_engine.checkpoints import Checkpoint
from partsong.graph_engine.processor import Processor
from partsong.log.scrub import Target

__all__ = ["Scrubber", "Scrubs"]

_log = logging.getLogger("partsong.graph_engine")

_AGAIN = 30.0
"""Seconds until a partition that could not be read is tried again."""


_SOON = 100_000
"""Records of the whole log, back from the newest checkpoint, that are read at once; what begins before is read slowly."""


class Scrubs(Protocol):
    """Reads partitions up to where their checkpoints stand, and compares them; see `partsong.log.scrub`."""

    async def __call__(self, targets: Sequence[Target], *, slowly: bool) -> dict[int, Damaged]:
        """Which are damaged, and how.

        Raises:
            Unavailable: the server did not answer.
        """
        ...


_Taken = tuple[Processor, Checkpoint]


class Scrubber:
    """Scrubs each partition once after it was taken: the newest part at once, all of it at leisure."""

    def __init__(self, scrub: Scrubs, report: Callable[[Damaged], Awaitable[bool]]) -> None:
        """`report` is told of damage, and says whether it was news."""
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
        if processor.checkpoint.seq:
            self._quick.put_nowait((processor, processor.checkpoint))

    async def _go(self, todo: asyncio.Queue[_Taken], *, slowly: bool) -> None:
        """Scrub all that wait together, again and again."""
        while True:
            waiting = [await todo.get()]
            while not todo.empty():
                waiting.append(todo.get_nowait())
            owned = {p.partition: (p, found) for p, found in waiting if p.owned}
            soon = max((found.seq for _, found in owned.values()), default=0) - _SOON
            now = {
                number: one
                for number, one in owned.items()
                if slowly or one[1].sealed.before.seq >= soon
            }
            try:
                bad = await self._scrub(
                    [_target(n, found, slowly=slowly) for n, (_, found) in now.items()],
                    slowly=slowly,
                )
                for number, damage in bad.items():
                    await self._found(now[number][0], damage)
            except Exception as error:
                self._failed(error)
                await asyncio.sleep(_AGAIN)
                for one in owned.values():
                    todo.put_nowait(one)
                continue
            if not slowly:
                for number in owned.keys() - bad.keys():
                    self._slow.put_nowait(owned[number])

    @staticmethod
    def _failed(error: Exception) -> None:
        if isinstance(error, PartsongError):
            told = {"problem": error.problem.code, "why": str(error)}
            _log.info("not scrubbed, to be tried again", extra=told)
        else:
            _log.error("scrub broke, to be tried again", exc_info=error)

    async def _found(self, processor: Processor, found: Damaged) -> None:
        problem = Problem(
            code="log.damaged",
            message=f"records of the run are lost or changed: {found.why}",
            where=f"partition {processor.partition}",
            fix="run `partsong log verify`, then restore the log from a mirror or a backup",
            fault="platform",
        )
        if processor.owned:
            processor.runs.set_aside(found.runs, problem)
        if await self._report(found):
            told = {"partition": processor.partition, "why": found.why, "runs": len(found.runs)}
            _log.error("partition damaged", extra=told)


def _target(partition: int, checkpoint: Checkpoint, *, slowly: bool) -> Target:
    sealed = checkpoint.sealed
    base = Place() if slowly else sealed.before
    return Target(partition, checkpoint.seq, base, sealed.place, checkpoint.open)
