"""Jobs: hints from the work queue, each worked off by a task, never more at once than there are slots.

The queue redelivers what is not acknowledged within two seconds, so running jobs say that they are in progress. What
cannot be read becomes a dead letter; what fails for a reason of the platform's is delivered again later, and becomes
a dead letter after `MOST` tries. Nothing is dropped without a trace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from pydantic import ValidationError

from partsong.bus.dead import dead_letter
from partsong.bus.pull import Delivery, PullLoop
from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.subjects import Subjects
from partsong.contracts.validate import problem_of
from partsong.contracts.work import WORK, Work
from partsong.log.blobs import Blobs
from partsong.log.stored import BLOB
from partsong.runtime import clock
from partsong.runtime.logs import current_run
from partsong.runtime.streams import Names

__all__ = ["MOST", "Busy", "Jobs"]

_log = logging.getLogger("partsong.bus")

MOST = 20
"""Deliveries of one hint before it becomes a dead letter."""
_TICK = 0.5
_LONGEST = 30.0


class Busy(Exception):
    """Somebody else is at it: deliver the hint again in a second."""


@dataclass(slots=True, eq=False)
class _Job:
    delivery: Delivery
    run_id: str
    since: float
    task: asyncio.Task[None] | None = None


class Jobs:
    """Pulls hints for one service and works them off."""

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        service: str,
        work: Callable[[Work], Awaitable[None]],
        blobs: Blobs,
        *,
        slots: int = 64,
    ) -> None:
        self._nc, self._subjects, self._service, self._work = nc, subjects, service, work
        self._blobs = blobs
        self._jobs: set[_Job] = set()
        self._loop = PullLoop(
            nc, Names.of(subjects).work, service, self._begin, credit=slots, auto_credit=False
        )
        self._stops: Subscription | None = None
        self._ticker: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        """Jobs running now."""
        return len(self._jobs)

    async def start(self) -> None:
        """Begin to pull."""
        self._stops = await self._nc.subscribe(self._subjects.stops(), cb=self._stop_run)
        self._ticker = asyncio.get_running_loop().create_task(self._tick(), name="in-progress")
        await self._loop.start()

    async def drain(self, within: float) -> None:
        """Pull no more; let running jobs finish, and give the rest back to the queue."""
        await self._loop.stop()
        if self._stops is not None:
            await self._stops.unsubscribe()
        running = {job.task for job in self._jobs if job.task is not None}
        if running:
            await asyncio.wait(running, timeout=within)
        for job in list(self._jobs):
            if job.task is not None and not job.task.done():
                job.task.cancel()
                job.delivery.nak()
        await asyncio.gather(
            *(job.task for job in list(self._jobs) if job.task), return_exceptions=True
        )
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)

    def _begin(self, delivery: Delivery) -> None:
        job = _Job(delivery, "", clock.monotonic())
        self._jobs.add(job)
        job.task = asyncio.get_running_loop().create_task(self._do(job))

    async def _do(self, job: _Job) -> None:
        try:
            await self._answer(job)
        finally:
            self._jobs.discard(job)
            self._loop.done()

    async def _answer(self, job: _Job) -> None:
        """Work one hint off, and answer its delivery in every case."""
        delivery, call = job.delivery, ""
        try:
            blob = delivery.headers.get(BLOB)
            body = delivery.data if blob is None else await self._blobs.get(blob)
            work = WORK.validate_json(body)
            job.run_id, call = work.run_id, work.call_id
            current_run.set(work.run_id)
            await self._work(work)
        except ValidationError as error:
            await self._bury(delivery, problem_of(error, "work.malformed"))
        except Busy:
            delivery.nak(1.0)
        except asyncio.CancelledError:
            _log.info("job cancelled", extra={"call": call})
            raise
        except Exception as error:
            problem = error.problem if isinstance(error, PartsongError) else _fault(error)
            _log.warning("job failed", extra={"call": call, "problem": problem.code}, exc_info=True)
            if delivery.num_delivered >= MOST:
                await self._bury(delivery, problem)
            else:
                delivery.nak(min(_LONGEST, 0.2 * 2**delivery.num_delivered))
        else:
            delivery.ack()

    async def _bury(self, delivery: Delivery, problem: Problem) -> None:
        try:
            await dead_letter(
                self._nc,
                self._subjects,
                self._service,
                problem,
                subject=delivery.subject,
                seq=delivery.stream_seq,
                deliveries=delivery.num_delivered,
                body=delivery.data,
            )
        except PartsongError:
            delivery.nak(1.0)
        else:
            delivery.ack()

    async def _stop_run(self, msg: Msg) -> None:
        """A run has ended: whoever works for it stops."""
        run_id = msg.subject.rpartition(".")[2]
        for job in list(self._jobs):
            if job.run_id == run_id and job.task is not None:
                job.task.cancel()
                job.delivery.ack()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            old = clock.monotonic() - _TICK
            for job in self._jobs:
                if job.since < old:
                    job.delivery.in_progress()


def _fault(error: Exception) -> Problem:
    return Problem(
        code="worker.fault",
        message=f"{type(error).__name__}: {error}",
        retryable=True,
        fault="platform",
    )
