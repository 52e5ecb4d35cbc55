"""The engine at work: hears requests, reports, timers and heartbeats, and keeps watch over what is open.

Nothing here decides. Each ear puts what it hears into the mailbox of the run it concerns (see `runs`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Protocol

from partsong.bus.pull import Delivery
from partsong.contracts.errors import InvalidInput, PartsongError
from partsong.contracts.subjects import Subjects
from partsong.graph_engine.feed import Feed
from partsong.graph_engine.mail import Fired, Wake
from partsong.graph_engine.overhear import Overhearing
from partsong.graph_engine.partitions import Partitions
from partsong.graph_engine.runs import Runs
from partsong.log.port import Log

__all__ = ["Engine", "OpenRuns", "Pulling"]

_log = logging.getLogger("partsong.graph_engine")

_AGAIN = 1.0


class OpenRuns(Protocol):
    """Finds the runs of a partition that are open."""

    def of(self, partition: int) -> AsyncIterator[str]:
        """Their ids; raises `Unavailable` if the broker does not answer."""
        ...


class Pulling(Protocol):
    """Pulls from a queue, once it is started, for the handler it was made with."""

    async def start(self) -> None:
        """Begin to pull."""
        ...

    async def stop(self) -> None:
        """Pull no more."""
        ...


class Engine:
    """All ears of one engine process."""

    def __init__(
        self,
        store: Log,
        subjects: Subjects,
        runs: Runs,
        feeds: Sequence[Feed],
        open_runs: OpenRuns,
        timers: Callable[[Callable[[Delivery], None]], Pulling],
        *,
        start_scheduled: Callable[[str, int], Awaitable[None]] | None = None,
        restore: Callable[[], Awaitable[None]] | None = None,
        watch_every: float = 2.0,
    ) -> None:
        """Without feeds, the engine follows the whole log. `timers` makes what pulls the timers that fired.

        `start_scheduled` is told the name of a schedule whose time has come, and when that was, in nanoseconds;
        `restore` is called at the start, until it succeeds.
        """
        self._subjects, self._runs, self._open = subjects, runs, open_runs
        self._start_scheduled, self._restore = start_scheduled, restore
        self._every = watch_every
        self._tasks: set[asyncio.Task[None]] = set()
        self._partitions: Partitions | Overhearing = (
            Partitions(feeds, subjects, runs, pinned=self._took)
            if feeds
            else Overhearing(store, subjects, runs, adopt=self._took)
        )
        self._timers = timers(self._fired)

    async def start(self) -> None:
        """Begin to listen; runs left open by a predecessor are taken up."""
        await self._partitions.start()
        await self._timers.start()
        self._spawn(self._watch())
        if self._restore is not None:
            self._spawn(_insisted(self._restore))

    async def drain(self) -> None:
        """Stop listening, finish what has been heard."""
        await self._timers.stop()
        await self._partitions.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runs.drain()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _took(self, partition: int) -> None:
        """A partition is ours now: look after all runs in it that have not ended."""
        self._spawn(self._adopt(partition))

    async def _adopt(self, partition: int) -> None:
        while True:
            try:
                async for run_id in self._open.of(partition):
                    self._runs.hear(run_id, Wake())
                return
            except PartsongError as error:
                _log.warning(
                    "open runs not listed",
                    extra={"partition": partition, "problem": error.problem.code},
                )
                await asyncio.sleep(_AGAIN)

    async def _watch(self) -> None:
        """Every few seconds: take up what a dead engine left, send again what may be lost, notice silent workers."""
        while True:
            for partition in await self._partitions.orphans():
                self._took(partition)
            await asyncio.sleep(self._every)
            for run_id in self._runs.stale():
                self._runs.hear(run_id, Wake())

    def _fired(self, delivery: Delivery) -> None:
        try:
            where = self._subjects.parse_fired(delivery.subject)
        except InvalidInput:
            delivery.term("not a timer's subject")
            return
        if where.schedule:
            if where.ends or self._start_scheduled is None:
                delivery.ack()
            else:
                start = self._start_scheduled(where.schedule, delivery.stored_ns)
                self._spawn(_answered(delivery, start))
            return

        def done(error: PartsongError | None) -> None:
            if error is None:
                delivery.ack()
            else:
                delivery.nak(_AGAIN)

        self._runs.hear(where.run_id, Fired(where.timer_id, done=done))


async def _insisted(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await work()
        except PartsongError as error:
            _log.warning("schedules not looked after", extra={"problem": error.problem.code})
            await asyncio.sleep(_AGAIN)


async def _answered(delivery: Delivery, work: Awaitable[None]) -> None:
    """Acknowledge a delivery when its work is done; otherwise it comes again."""
    try:
        await work
    except PartsongError as error:
        _log.warning(
            "not done, to be tried again",
            extra={"subject": delivery.subject, "problem": error.problem.code},
        )
        delivery.nak(_AGAIN)
    else:
        delivery.ack()
