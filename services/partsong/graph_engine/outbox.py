"""What follows a commit: hints for workers, durable timers, stop broadcasts. All of it can be sent again."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import nats.errors
from nats.aio.client import Client

from partsong.bus.dead import dead_letter
from partsong.bus.parts import Parts
from partsong.contracts import events as e
from partsong.contracts.errors import Problem, Unavailable
from partsong.contracts.state.calls import SERVICE_OF
from partsong.contracts.state.state import Call, RunState, Timer
from partsong.contracts.wire.headers import (
    BLOB,
    MSG_ID,
    REMINDER,
    SCHEDULE,
    SCHEDULE_TARGET,
    SEEN,
    SET_FOR,
)
from partsong.contracts.wire.stop import Stop, stops_of
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import ChildWork, Work
from partsong.engine.work.hints import work_of
from partsong.graph_engine.workload import Reading
from partsong.runtime import clock
from partsong.runtime.telemetry.telemetry import traceparent

__all__ = ["NatsOutbox", "Outbox", "reminder_id", "send"]

_log = logging.getLogger("partsong.graph_engine")


class Outbox(Protocol):
    """Carries what a commit asks for. Sending a thing twice does no harm."""

    async def hint(self, state: RunState, call: Call, seen: int, *, again: bool = False) -> None:
        """Tell the workers of a call that is open after the record `seen`, or `again` of one they may have been told of."""
        ...

    async def timer(self, run_id: str, timer: Timer) -> None:
        """Set a durable timer; returns once it is stored."""
        ...

    async def stop(self, run_id: str, stop: Stop) -> None:
        """Tell the workers to drop what they do for a run, or for a part of it."""
        ...

    async def not_undone(self, state: RunState, event: e.NodeCompensated) -> None:
        """Keep a dead letter for what could not be undone: somebody has to do it by hand."""
        ...


async def send(outbox: Outbox, state: RunState, events: Sequence[e.Event], commit: int) -> None:
    """Send what the `events` of a commit ask for, as far as `state` still wants it."""
    for stop in stops_of(events, commit):
        await outbox.stop(state.run_id, stop)
    for event in events:
        match event:
            case e.CallRequested() | e.AgentTurnRequested():
                if (call := state.calls.get(event.call_id)) and call.open:
                    await outbox.hint(state, call, commit)
            case e.TimerSet():
                if timer := state.timers.get(event.timer_id):
                    await outbox.timer(state.run_id, timer)
            case e.NodeCompensated(error=Problem()):
                await outbox.not_undone(state, event)
            case _:
                pass


class NatsOutbox:
    """The outbox on NATS."""

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        parts: Parts,
        begin: Callable[[ChildWork], Awaitable[None]],
        queue: Callable[[str], Awaitable[Reading | None]],
        *,
        within: float = 5.0,
    ) -> None:
        """`begin` asks for a detached run; `queue` says how a service's queue of hints stands."""
        self._begin, self._queue = begin, queue
        self._nc, self._subjects, self._parts, self._within = nc, subjects, parts, within

    async def hint(self, state: RunState, call: Call, seen: int, *, again: bool = False) -> None:
        """Publish without waiting: a lost hint is sent again, and its id makes a repeated one vanish."""
        work = work_of(state, call)
        if work is None:
            return
        if isinstance(work, ChildWork):
            await self._begin(work)
            return
        body, packed = await self._parts.pack(work, again=again)
        service = SERVICE_OF[work.kind]
        headers = {
            MSG_ID: reminder_id(work, await self._queue(service)) if again else work.id,
            SEEN: str(seen),
            "traceparent": traceparent(state.run_id, call.exec),
        }
        if again:
            headers[REMINDER] = "1"
        if packed is not None:
            headers[BLOB] = packed
        await self._nc.publish(self._subjects.work(service), body, headers=headers)

    async def timer(self, run_id: str, timer: Timer) -> None:
        """Store a scheduled message that becomes `partsong.fired.<run>.<timer>` at its time (ADR-51 of NATS).

        Raises:
            Unavailable: the server did not confirm it in time.
        """
        headers = {
            SCHEDULE: f"@at {timer.at}",
            SCHEDULE_TARGET: self._subjects.fired(run_id, timer.id),
            SET_FOR: timer.at,
        }
        try:
            reply = await self._nc.request(
                self._subjects.timer(run_id, timer.id),
                timer.id.encode(),
                timeout=self._within,
                headers=headers,
            )
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(
                "timer.not_set",
                f"timer {timer.id} of {run_id} was not confirmed within {self._within:g} s",
                retryable=True,
            ) from error
        if problem := json.loads(reply.data).get("error"):
            raise Unavailable(
                "timer.refused", f"timer {timer.id} of {run_id}: {problem}", where=timer.id
            )

    async def stop(self, run_id: str, stop: Stop) -> None:
        """Broadcast once; a worker that misses it finishes in vain."""
        body = stop.model_dump_json(exclude_none=True).encode()
        await self._nc.publish(self._subjects.stop(run_id), body)

    async def not_undone(self, state: RunState, event: e.NodeCompensated) -> None:
        """Keep the dead letter; its id is the event's, so that it is kept once.

        Raises:
            Unavailable: the server did not confirm it.
        """
        assert event.error is not None  # noqa: S101
        body = json.dumps({"run": state.run_id, "events": [e.write(event)]}).encode()
        graph = state.graph.name if state.graph is not None else ""
        problem = Problem(
            code="compensation.failed",
            message=f"run {state.run_id} of {graph} ends, and what {event.exec} did is not undone: "
            f"{event.error.code}: {event.error.message}",
            where=event.exec,
            fix="undo it by hand; `partsong run show` and `run events` have the details",
            fault=event.error.fault,
        )
        _log.error("not undone", extra={"run": state.run_id, "exec": event.exec})
        await dead_letter(
            self._nc,
            self._subjects,
            SERVICE_OF["run"],
            problem,
            subject=self._subjects.engine(state.run_id),
            seq=0,
            deliveries=0,
            body=body,
            id=event.id,
        )


def reminder_id(work: Work, queue: Reading | None) -> str:
    """The id of a reminder of a call that nobody holds, as far as the workers say.

    The server drops what comes under an id that it has had within two minutes. So as long as hints wait, the first one
    may be among them, and its id keeps the queue from filling with copies; if workers have some in hand, there is one
    copy in two minutes; of an empty queue nothing will come.
    """
    if queue is None or queue.waiting:
        return work.id
    return f"{work.id}.again" if queue.taken else f"{work.id}.{clock.new_id()}"
