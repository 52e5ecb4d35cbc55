"""What follows a commit: hints for workers, durable timers, stop broadcasts. All of it can be sent again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Protocol

import nats.errors
from nats.aio.client import Client

from partsong.contracts import events as e
from partsong.contracts.errors import Problem, Unavailable
from partsong.contracts.requests import RunRequest
from partsong.contracts.state import Call, RunState, Timer
from partsong.contracts.subjects import Subjects
from partsong.contracts.work import REMINDER, ChildWork
from partsong.graph_engine.core.hints import work_of
from partsong.log.blobs import Blobs
from partsong.log.stored import BLOB
from partsong.runtime.telemetry import traceparent

__all__ = ["NatsOutbox", "Outbox", "send"]

_BIG = 256 * 1024
"""Requests over this many bytes travel beside the stream, like the log's bodies."""
_SERVICE = {
    "function": "tool-runner",
    "tool": "tool-runner",
    "hook": "tool-runner",
    "agent.turn": "agent-gateway",
}


class Outbox(Protocol):
    """Carries what a commit asks for. Sending a thing twice does no harm."""

    async def hint(self, state: RunState, call: Call, *, again: bool = False) -> None:
        """Tell the workers of an open call, or `again` of one that they may have been told of."""
        ...

    async def timer(self, run_id: str, timer: Timer) -> None:
        """Set a durable timer; returns once it is stored."""
        ...

    async def stop(self, run_id: str, reason: str, owner: str | None = None) -> None:
        """Tell the workers to drop what they do for a run, or for one execution or scope of it."""
        ...


async def send(outbox: Outbox, state: RunState, events: Iterable[e.Event]) -> None:
    """Send what the committed `events` ask for, as far as `state` still wants it."""
    for event in events:
        match event:
            case e.CallRequested() | e.AgentTurnRequested():
                if (call := state.calls.get(event.call_id)) and call.open:
                    await outbox.hint(state, call)
            case e.TimerSet():
                if timer := state.timers.get(event.timer_id):
                    await outbox.timer(state.run_id, timer)
            case e.RunStopping():
                await outbox.stop(state.run_id, event.reason or event.outcome)
            case e.NodeCancelled():
                await outbox.stop(state.run_id, event.reason or "cancelled", event.exec)
            case e.ScopeClosed(error=Problem() as error):
                await outbox.stop(state.run_id, error.code, event.scope)
            case _:
                pass


class NatsOutbox:
    """The outbox on NATS."""

    def __init__(
        self, nc: Client, subjects: Subjects, blobs: Blobs, *, within: float = 5.0
    ) -> None:
        self._nc, self._subjects, self._blobs, self._within = nc, subjects, blobs, within

    async def hint(self, state: RunState, call: Call, *, again: bool = False) -> None:
        """Publish without waiting: a lost hint is sent again, and its id makes a repeated one vanish."""
        work = work_of(state, call)
        if work is None:
            return
        if isinstance(work, ChildWork):
            await self._child(work)
            return
        body = _tagged(work.model_dump_json(exclude_defaults=True).encode(), work.kind)
        headers = {"Nats-Msg-Id": work.id, "traceparent": traceparent(state.run_id, call.exec)}
        if again:
            headers[REMINDER] = "1"
        if len(body) > self._nc.max_payload // 2:
            # Only then beside the queue: what lies in the object store is never deleted, a hint goes when it is done.
            headers[BLOB] = await self._blobs.put(body)
            body = b""
        await self._nc.publish(self._subjects.work(_SERVICE[work.kind]), body, headers=headers)

    async def _child(self, work: ChildWork) -> None:
        """Ask for a detached run at the door, where all runs begin.

        Without an id: asked again, it must arrive, for a child that has ended answers again.
        """
        request = RunRequest(
            id=work.child,
            run_id=work.child,
            graph=work.graph,
            input=work.input,
            options=work.options,
        )
        body = request.model_dump_json(exclude_none=True).encode()
        headers: dict[str, str] = {}
        if len(body) > _BIG:
            headers[BLOB] = await self._blobs.put(body)
            body = b""
        await self._nc.publish(self._subjects.request("run"), body, headers=headers or None)

    async def timer(self, run_id: str, timer: Timer) -> None:
        """Store a scheduled message that becomes `partsong.fired.<run>.<timer>` at its time (ADR-51 of NATS).

        Raises:
            Unavailable: the server did not confirm it in time.
        """
        headers = {
            "Nats-Schedule": f"@at {timer.at}",
            "Nats-Schedule-Target": self._subjects.fired(run_id, timer.id),
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

    async def stop(self, run_id: str, reason: str, owner: str | None = None) -> None:
        """Broadcast once; a worker that misses it finishes in vain."""
        body = json.dumps({"reason": reason, "owner": owner}).encode()
        await self._nc.publish(self._subjects.stop(run_id), body)


def _tagged(body: bytes, kind: str) -> bytes:
    """The discriminator is a default, and defaults are left out; readers need it."""
    return b'{"kind":"' + kind.encode() + b'",' + body[1:]
