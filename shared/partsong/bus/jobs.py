"""Jobs: hints from the work queue, each worked off by a task, never more at once than there are slots.

The queue redelivers what is not acknowledged within two seconds, so running jobs say that they are in progress; a hint
that comes again while its job runs here starts no second one, and one that comes again from elsewhere is worked on only
if no other worker does; its last worker may have died of it, so it is a suspect. One that comes late is looked up: its run
may not want it any more. How hints are answered that cannot be read or worked off, says `Handling`; what is given up here
is closed in the log, so that no run waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, assert_never

from nats.aio.client import Client
from pydantic import ValidationError

from partsong.bus.claims import refuse
from partsong.bus.handling import MOST, Busy, Handling
from partsong.bus.holders import Holders
from partsong.bus.parts import Parts
from partsong.bus.pull import Delivery, PullLoop
from partsong.bus.stops import Stops
from partsong.bus.suspects import Suspects
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph.validate import problem_of
from partsong.contracts.wire.headers import BLOB, REMINDER, seen_in
from partsong.contracts.wire.parts import PACKED
from partsong.contracts.wire.stop import Stop
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import (
    WORK,
    ChildWork,
    FunctionWork,
    HookWork,
    ToolWork,
    TurnWork,
    Work,
)
from partsong.log.jetstream import JetStreamLog
from partsong.runtime import clock
from partsong.runtime.heartbeat.held import HeldCalls
from partsong.runtime.logs import current_run, current_trace
from partsong.runtime.streams import Names

__all__ = ["OLD", "Jobs"]

_log = logging.getLogger("partsong.bus")

_TICK = 0.5
OLD = 2.0
"""Seconds in the queue after which a hint's call may be wanted no more; of younger ones the stop was heard here."""
_LATE = 2.0
"""Seconds after a stall in which what comes out of the connection may have been delivered to others meanwhile."""


@dataclass(slots=True, eq=False)
class _Job:
    delivery: Delivery
    since: float
    work: Work | None = None
    again: bool = False
    """It may have been given to another worker before."""
    old: bool = False
    """It was sent before this connection began: a server that restarts may forget that it has delivered it."""
    held: int | None = None
    task: asyncio.Task[None] | None = None


class Jobs:
    """Pulls hints for one service and works them off.

    What `work` may raise, says `Handling.answer`.
    """

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        service: str,
        work: Callable[[Work], Awaitable[None]],
        store: JetStreamLog,
        *,
        slots: int = 64,
        most: int = MOST,
        held: HeldCalls | None = None,
        holders: Holders | None = None,
        worker: str = "",
    ) -> None:
        """`held` is where running calls are listed; `holders` is asked about hints that come again."""
        self._nc, self._subjects, self._service, self._work = nc, subjects, service, work
        self._blobs = store.blobs
        self._parts = Parts(store.blobs.beside(Names.of(subjects).hints))
        self._handling = Handling(
            nc, subjects, service, fault="worker.fault", most=most, buried=self._given_up
        )
        self._log, self._worker, self._suspects = store, worker, Suspects()
        self._began = clock.now().timestamp()
        self._held, self._holders = held or HeldCalls(), holders
        self._jobs: dict[int, _Job] = {}
        self._hints: set[str] = set()
        self._connection, self._since = -1, 0
        self._loop = PullLoop(
            nc, Names.of(subjects).work, service, self._begin, credit=slots, auto_credit=False
        )
        self._stops = Stops(nc, subjects, store, lambda *stop: bool(self._meant(*stop)), self._drop)
        self._ticker: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        """Jobs running now."""
        return len(self._jobs)

    async def start(self) -> None:
        """Begin to pull."""
        await self._stops.start()
        self._ticker = asyncio.get_running_loop().create_task(self._tick(), name="in-progress")
        await self._loop.start()

    async def drain(self, within: float) -> None:
        """Pull no more; let running jobs finish for so many seconds, and give the rest back to the queue.

        The rest is given back also if the drain itself is cut short.
        """
        try:
            await self._loop.stop()
            if running := self._tasks():
                await asyncio.wait(running, timeout=within)
        finally:
            for job in self._jobs.values():
                if job.task is not None:
                    job.task.cancel()
                    job.delivery.nak()
        await asyncio.gather(*self._tasks(), return_exceptions=True)
        await self._stops.stop()
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        await self._loop.flush()

    def _tasks(self) -> set[asyncio.Task[None]]:
        return {job.task for job in self._jobs.values() if job.task is not None}

    def _begin(self, delivery: Delivery) -> None:
        if job := self._jobs.get(delivery.stream_seq):
            job.delivery = delivery  # we were too late to say that we are at it
            delivery.in_progress()
            self._loop.done()
            return
        now = clock.monotonic()
        again = delivery.num_delivered > 1 or REMINDER in delivery.headers
        late = now - self._held.stalled < _LATE
        old = delivery.stored_ns < self._connected_ns()
        job = self._jobs[delivery.stream_seq] = _Job(delivery, now, again=again or late, old=old)
        job.task = asyncio.get_running_loop().create_task(self._do(job))

    def _connected_ns(self) -> int:
        """About when this connection began: at its first delivery, and a second for clocks that differ."""
        if (count := self._nc.stats["reconnects"]) != self._connection:
            self._connection, self._since = count, int((clock.now().timestamp() + 1) * 1e9)
        return self._since

    async def _do(self, job: _Job) -> None:
        try:
            await self._answer(job)
        finally:
            if job.work is not None:
                self._hints.discard(job.work.id)
            if job.held is not None:
                self._held.release(job.held)
            del self._jobs[job.delivery.stream_seq]
            self._loop.done()

    async def _answer(self, job: _Job) -> None:
        try:
            await self._handling.answer(job.delivery, self._attempt(job))
        except asyncio.CancelledError:
            _log.info("job cancelled", extra={"hint": job.work.id if job.work else ""})
            raise

    async def _attempt(self, job: _Job) -> None:
        work = await self._read(job.delivery)
        if work.id in self._hints:
            return  # a second copy: the first one is not acknowledged before it is done
        job.work = work
        self._hints.add(work.id)
        current_run.set(work.run_id)
        current_trace.set(job.delivery.headers.get("traceparent", "")[3:35])
        how = await self._standing(job, work)
        if how == "not ours" or not await self._wanted(job, work, again=how == "again"):
            return
        suspect = work.deaths > 0 or (how == "again" and self._is_suspect(job, work))
        if how == "again":
            work = work.model_copy(update={"deaths": work.deaths + 1})
        async with self._suspects.admitted(work.deaths if suspect else 0):
            await self._work(work)

    def _is_suspect(self, job: _Job, work: Work) -> bool:
        """Whether a worker may have died of a call; most hints that come again were handed back by somebody."""
        older = job.delivery.stored_ns / 1e9 < self._began
        return older or (self._holders is not None and self._holders.orphaned(work))

    async def _wanted(self, job: _Job, work: Work, *, again: bool) -> bool:
        """Whether a call is still wanted; the log is asked about hints that come again, or late, or behind a stop."""
        waited = clock.now().timestamp() - job.delivery.stored_ns / 1e9
        if not again and waited < OLD and not self._stops.heard(work.run_id):
            return True
        seen = seen_in(job.delivery.headers)
        if seen is None or not await self._stops.ended(work, seen):
            return True
        _log.info("hint dropped", extra={"hint": work.id, "call_is": "not wanted"})
        return False

    async def _given_up(self, delivery: Delivery, problem: Problem) -> None:
        """Close the call of a hint that has become a dead letter."""
        job = self._jobs.get(delivery.stream_seq)
        work = job.work if job is not None else None
        if work is None and delivery.headers.get(BLOB) == PACKED:
            work = Parts.bare(delivery.data)
        if work is not None:
            await refuse(self._log, self._subjects, self._worker, work, problem)

    async def _standing(self, job: _Job, work: Work) -> Literal["first", "again", "not ours"]:
        """List the call, and if its hint comes again, see that nobody else works on it, and that it is not done.

        Raises:
            Busy: another worker has it or may have it; should that one die, this hint is what is left.
        """
        holders = self._holders
        again = holders is not None and (job.again or holders.seen(work))
        call = work.run_id, work.call_id, work.attempt
        seen = seen_in(job.delivery.headers) or 0
        job.held = self._held.hold(*call, _called(work), asking=again)
        if holders is None:
            return "first"
        if not again:
            # A server that was killed, or whose disk was full, has forgotten that this hint was acknowledged.
            done = job.old and await holders.done(work, seen)
            return "not ours" if done else "first"
        match await holders.standing(work, seen):
            case "free":
                self._held.begin(job.held)
                return "again"
            case "held" if REMINDER not in job.delivery.headers:
                raise Busy
            case "unknown":
                raise Busy(holders.delay())
            case "held" | "done" as standing:
                _log.info("hint dropped", extra={"hint": work.id, "call_is": standing})
                return "not ours"

    async def _read(self, delivery: Delivery) -> Work:
        blob = delivery.headers.get(BLOB)
        if blob is None:
            body = delivery.data
        elif blob == PACKED:
            body = await self._parts.unpack(delivery.data)
        else:
            body = await self._blobs.get(blob)  # an engine of before has sent it
        try:
            return WORK.validate_json(body)
        except ValidationError as error:
            raise InvalidInput.of(problem_of(error, "work.malformed")) from error

    def _meant(self, run_id: str, stop: Stop) -> list[_Job]:
        """The jobs that a stop would end: what was asked for behind its commit is wanted again."""
        return [
            job
            for job in self._jobs.values()
            if job.work is not None
            and job.work.run_id == run_id
            and stop.ends(job.work)
            and (seen_in(job.delivery.headers) or 0) < stop.commit
        ]

    def _drop(self, run_id: str, stop: Stop) -> None:
        for job in self._meant(run_id, stop):
            if job.task is not None:
                job.task.cancel()
                job.delivery.ack()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            old = clock.monotonic() - _TICK
            for job in self._jobs.values():
                if job.since < old:
                    job.delivery.in_progress()


def _called(work: Work) -> str:
    """What a call is of, in one word."""
    match work:
        case FunctionWork():
            return work.function
        case ToolWork():
            return work.tool
        case HookWork():
            return work.point
        case TurnWork():
            return work.agent.model
        case ChildWork():
            return work.child
        case _:
            assert_never(work)
