"""Detached subgraphs on the bus: runs of their own, which report to the log of the run that waits for them.

A child begins at the door, asked for by its parent's engine; its id follows from the call, so that asking again finds
the same run. Whoever sees it end reports that to the parent. If that is lost, the parent asks again, and a child that
has ended answers again. A child whose parent no longer waits is cancelled by whoever looks after it.
"""

from __future__ import annotations

import nats.errors
from nats.aio.client import Client
from pydantic import ValidationError

from partsong.contracts.envelope import encode_report
from partsong.contracts.errors import Problem, Unavailable
from partsong.contracts.requests import CancelRequest, RunRequest
from partsong.contracts.run_events import Parent
from partsong.contracts.state import Call, RunState
from partsong.contracts.subjects import Subjects
from partsong.contracts.work import child_of, child_of_v0
from partsong.graph_engine.core import hear
from partsong.graph_engine.ledger import Ledger
from partsong.log.port import Log
from partsong.runtime import clock

__all__ = ["Children", "abandoned", "parent_of"]


def parent_of(state: RunState) -> Parent | None:
    """The call that waits for this run. A fork has its origin's options, but nobody waits for it."""
    parent = state.options.parent
    if parent is None or state.run_id not in {child_of(parent), child_of_v0(parent)}:
        return None
    return parent


def abandoned(before: RunState, after: RunState) -> list[Call]:
    """Detached runs that were waited for before a commit, and are not after it."""
    over = after.ended or after.stopping is not None
    waited = (call for call in before.calls.values() if call.kind == "run" and call.open)
    return [call for call in waited if call.id not in after.calls or over]


class Children:
    """What passes between parents and children, beside the requests that begin them."""

    def __init__(self, nc: Client, log: Log, subjects: Subjects) -> None:
        self._nc, self._log, self._subjects = nc, log, subjects

    async def answer(self, state: RunState) -> None:
        """Tell the parent of an ended run; told twice, it counts once.

        Raises:
            Unavailable: the log did not answer.
        """
        parent = parent_of(state)
        if parent is None:
            return
        ended = hear.child_ended(state, parent, clock.now_text())
        subject, body = self._subjects.fact(parent.run_id), encode_report(parent.run_id, ended)
        await self._log.append(subject, body, id=ended.id)

    async def refused(self, body: bytes, problem: Problem) -> None:
        """Tell the parent that its child cannot begin; nothing if the request that was refused asked for none.

        Raises:
            Unavailable: the log did not answer.
        """
        try:
            request = RunRequest.model_validate_json(body)
        except ValidationError:
            return
        run_id = request.run_id or ""
        never = RunState(run_id, status="failed", options=request.options, error=problem)
        await self.answer(never)

    async def cancel(self, run_id: str, call: Call) -> None:
        """Ask for the end of a child that nobody waits for; its own engine would also find out, later."""
        parent = Parent(run_id=run_id, call_id=call.id, attempt=call.attempt)
        child = call.child or child_of_v0(parent)
        request = CancelRequest(
            id=f"{child}~cancel", run_id=child, reason=f"run {run_id} does not wait for it any more"
        )
        body = request.model_dump_json(exclude_none=True).encode()
        headers = {"Nats-Msg-Id": request.id}
        try:
            await self._nc.publish(self._subjects.request("cancel"), body, headers=headers)
        except nats.errors.Error as error:
            raise Unavailable(
                "request.not_stored", f"{child} could not be cancelled: {error!r}", retryable=True
            ) from error

    async def orphaned(self, state: RunState) -> str | None:
        """Why an open run need not go on, if its parent no longer waits for it and nobody has retried it."""
        parent = parent_of(state)
        if parent is None or state.round:
            return None
        ledger = Ledger(self._log, self._subjects, parent.run_id)
        await ledger.refresh()
        waiting = ledger.state
        if waiting.graph is None:
            return None
        call = waiting.calls.get(parent.call_id)
        over = waiting.ended or waiting.stopping is not None
        if call is not None and call.open and call.attempt == parent.attempt and not over:
            return None
        return f"run {parent.run_id} does not wait for it any more"
