"""The engine at work: owns its share of the partitions, and takes durable timers that fire.

Nothing here decides. A timer that fired becomes a fact of the run it belongs to, whoever owns that run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol

from partsong.bus.pull import Delivery
from partsong.contracts.errors import InvalidInput, PartsongError, Problem
from partsong.contracts.events.envelope import encode_report
from partsong.contracts.wire.headers import LATE, SET_FOR
from partsong.contracts.wire.subjects import FiredSubject, Subjects
from partsong.engine.commands import runs
from partsong.graph_engine.ownership import Ownership
from partsong.graph_engine.schedules import Firing
from partsong.log.port import Log
from partsong.runtime import clock

__all__ = ["Engine", "Pulls"]

_log = logging.getLogger("partsong.graph_engine")

_AGAIN = 1.0
_LOOK = 30.0
"""Seconds between two looks whether schedules have lost their timers."""


class Pulls(Protocol):
    """Hands deliveries to a handler; see `PullLoop`."""

    async def start(self) -> None:
        """Begin to pull."""
        ...

    async def stop(self) -> None:
        """Stop pulling."""
        ...

    def done(self) -> None:
        """Give back the credit of one delivery."""
        ...


class Engine:
    """Everything that one engine process follows."""

    def __init__(
        self,
        store: Log,
        subjects: Subjects,
        ownership: Ownership,
        pull: Callable[[Callable[[Delivery], None]], Pulls],
        *,
        start_scheduled: Callable[[str, Firing], Awaitable[None]] | None = None,
        restore: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`pull` begins to hand timers that fired to a handler, each until it is acknowledged.

        `start_scheduled` is told the name of a schedule whose time has come.

        `restore` is called at the start, until it succeeds, and then now and then.
        """
        self._log, self._subjects, self._ownership = store, subjects, ownership
        self._start_scheduled, self._restore = start_scheduled, restore
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers = pull(self._fired)

    @property
    def problem(self) -> Problem | None:
        """See `Ownership.problem`."""
        return self._ownership.problem

    async def start(self) -> None:
        """Take this engine's partitions, and begin to follow them."""
        await self._ownership.start()
        await self._timers.start()
        if self._restore is not None:
            self._spawn(_repeated(self._restore))

    async def drain(self) -> None:
        """Give everything back, finish what is being done."""
        await self._timers.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._ownership.stop()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _fired(self, delivery: Delivery) -> None:
        try:
            where = self._subjects.parse_fired(delivery.subject)
        except InvalidInput:
            delivery.term("not a timer's subject")
            self._timers.done()
            return
        if not where.schedule:
            self._spawn(self._acknowledged(delivery, self._rang(where, delivery)))
        elif where.ends or self._start_scheduled is None:
            delivery.ack()
            self._timers.done()
        else:
            at, late = delivery.headers.get(SET_FOR, ""), LATE in delivery.headers
            start = self._start_scheduled(where.schedule, Firing(delivery.stored_ns, at, late))
            self._spawn(self._acknowledged(delivery, start))

    async def _rang(self, where: FiredSubject, delivery: Delivery) -> None:
        """Append that a timer fired; the run may have no use for it any more."""
        at = delivery.headers.get(SET_FOR)
        event = runs.rang(where.run_id, where.timer_id, at, clock.now_text())
        body = encode_report(where.run_id, event)
        await self._log.append(self._subjects.fact(where.run_id), body, id=event.id)

    async def _acknowledged(self, delivery: Delivery, work: Awaitable[None]) -> None:
        """Acknowledge a delivery when its work is done; otherwise it comes again."""
        try:
            await work
        except PartsongError as error:
            told = {"subject": delivery.subject, "problem": error.problem.code}
            _log.warning("not done, to be tried again", extra=told)
            delivery.nak(_AGAIN)
        else:
            delivery.ack()
        finally:
            self._timers.done()


async def _repeated(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except PartsongError as error:
            _log.warning("schedules not looked after", extra={"problem": error.problem.code})
            await asyncio.sleep(_AGAIN)
        else:
            await asyncio.sleep(_LOOK)
