"""The engine at work: hears requests, reports, timers and heartbeats, and keeps watch over what is open.

Nothing here decides. Each ear puts what it hears into the mailbox of the run it concerns (see `runs`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine

from nats.aio.client import Client

from partsong.bus.pull import Delivery, PullLoop
from partsong.contracts.errors import InvalidInput, PartsongError
from partsong.contracts.subjects import Subjects
from partsong.graph_engine.mail import Fired, Wake
from partsong.graph_engine.overhear import Overhearing
from partsong.graph_engine.partitions import Partitions
from partsong.graph_engine.runs import Runs
from partsong.log.port import Log
from partsong.log.summaries import summaries
from partsong.runtime.streams import Names

__all__ = ["Engine"]

_log = logging.getLogger("partsong.graph_engine")

_ENDED = {"completed", "failed", "cancelled", "limit_exceeded"}
_AGAIN = 1.0


class Engine:
    """All ears of one engine process."""

    def __init__(
        self,
        nc: Client,
        store: Log,
        subjects: Subjects,
        runs: Runs,
        *,
        start_scheduled: Callable[[str, int], Awaitable[None]] | None = None,
        restore: Callable[[], Awaitable[None]] | None = None,
        watch_every: float = 2.0,
        affinity: bool = True,
    ) -> None:
        """`start_scheduled` is told the name of a schedule whose time has come, and when that was, in nanoseconds.

        `restore` is called at the start, until it succeeds.
        """
        self._nc, self._subjects, self._runs = nc, subjects, runs
        self._start_scheduled, self._restore = start_scheduled, restore
        self._names = Names.of(subjects)
        self._every = watch_every
        self._tasks: set[asyncio.Task[None]] = set()
        self._partitions: Partitions | Overhearing = (
            Partitions(nc, self._names.log, subjects, runs, pinned=self._took)
            if affinity
            else Overhearing(store, subjects, runs, adopt=self._took)
        )
        self._timers = PullLoop(nc, self._names.timers, "engine", self._fired, credit=256)

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
        filter = self._subjects.commits(partition)
        while True:
            try:
                async for found in summaries(self._nc, self._names.log, filter):
                    if (
                        found.broken
                    ):  # it would look as it did before its newest commit, and be run again
                        _log.error(
                            "run left alone: a record of it cannot be read",
                            extra={"subject": found.subject},
                        )
                        continue
                    ended = found.headers.get("Partsong-Status") in _ENDED
                    if not ended or "Partsong-Webhook" in found.headers:
                        self._runs.hear(self._subjects.parse_log(found.subject).run_id, Wake())
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
