"""Detached subgraphs on the bus: runs of their own, which report to the log of the run that waits for them.

A child begins with a command that its parent's engine appends; its id follows from the call, so that asking again finds
the same run. Whoever sees it end reports that to the parent. If that is lost, the parent asks again, and a child that
has ended answers again. A child whose parent no longer waits is cancelled by whoever looks after it.
"""

from __future__ import annotations

import logging

from partsong.contracts.errors import InvalidInput, PartsongError, Problem, Unavailable
from partsong.contracts.events import Parent, RunOptions
from partsong.contracts.events.envelope import encode_report
from partsong.contracts.graph.plan import plan_of
from partsong.contracts.state.state import Call, RunState
from partsong.contracts.wire.requests import CancelRequest, RunRequest
from partsong.contracts.wire.subjects import OURS, Subjects
from partsong.contracts.wire.work import ChildWork, child_of, child_of_v0
from partsong.engine.commands import runs
from partsong.graph_engine.commands import Commands
from partsong.graph_engine.preparing import Resolve
from partsong.log.blobs import LOST
from partsong.log.port import Log
from partsong.log.snapshots.folded import fold_to
from partsong.log.snapshots.port import Snapshots
from partsong.runtime import clock
from partsong.runtime.room import FULL

__all__ = ["Children", "abandoned", "parent_of"]

_logger = logging.getLogger("partsong.graph_engine")


def parent_of(state: RunState) -> Parent | None:
    """The call that waits for this run. A fork has its origin's options, but nobody waits for it."""
    parent = state.options.parent
    if parent is None or state.run_id not in {child_of(parent), child_of_v0(parent)}:
        return None
    return parent


def abandoned(before: RunState, after: RunState) -> list[Call]:
    """Detached runs that were waited for before a commit, and are not after it."""
    if before.graph is None or not plan_of(before.graph).detaches:
        return []
    over = after.ended or after.stopping is not None
    waited = (call for call in before.calls.values() if call.kind == "run" and call.open)
    return [call for call in waited if call.id not in after.calls or over]


class Children:
    """What passes between parents and children."""

    def __init__(
        self,
        log: Log,
        subjects: Subjects,
        snapshots: Snapshots,
        commands: Commands,
        resolve: Resolve,
    ) -> None:
        self._log, self._subjects, self._snapshots = log, subjects, snapshots
        self._commands, self._resolve = commands, resolve

    async def begin(self, work: ChildWork) -> None:
        """Ask for a detached run; asked again, it is the same run, and one that has ended answers again.

        Raises:
            Unavailable: the log, or the bucket of graphs, did not answer.
        """
        try:
            graph = await self._resolve(work.graph)
            request = RunRequest(
                id=work.child,
                run_id=work.child,
                graph=graph.hash,
                input=work.input,
                options=work.options,
            )
            new = await self._commands.append("run", work.child, work.child, request)
        except PartsongError as error:
            if isinstance(error, Unavailable) and error.problem.code not in FULL:
                raise
            await self.refused(work.child, work.options, error.problem)
            return
        state = None if new else await self._state(work.child)
        if state is not None and state.ended:
            await self.answer(state)

    async def answer(self, state: RunState) -> None:
        """Tell the parent of an ended run; told twice, it counts once.

        Raises:
            Unavailable: the log did not answer.
        """
        parent = parent_of(state)
        if parent is None:
            return
        ended = runs.child_ended(state, parent, clock.now_text())
        subject, body = self._subjects.fact(parent.run_id), encode_report(parent.run_id, ended)
        await self._log.append(subject, body, id=ended.id)

    async def refused(self, run_id: str, options: RunOptions, problem: Problem) -> None:
        """Tell the parent that its child cannot begin; nothing if the run has none.

        Raises:
            Unavailable: the log did not answer.
        """
        await self.answer(RunState(run_id, status="failed", options=options, error=problem))

    async def cancel(self, run_id: str, call: Call) -> None:
        """Ask for the end of a child that nobody waits for; its own engine would also find out, later."""
        parent = Parent(run_id=run_id, call_id=call.id, attempt=call.attempt)
        child, id_ = call.child or child_of_v0(parent), f"{OURS}cancel"
        why = f"run {run_id} does not wait for it any more"
        await self._commands.append(
            "cancel", child, id_, CancelRequest(id=id_, run_id=child, reason=why)
        )

    async def orphaned(self, state: RunState) -> str | None:
        """Why an open run need not go on, if its parent no longer waits for it and nobody has retried it."""
        parent = parent_of(state)
        if parent is None or state.round:
            return None
        waiting = await self._state(parent.run_id)
        if waiting is None or waiting.graph is None:
            return None
        call = waiting.calls.get(parent.call_id)
        over = waiting.ended or waiting.stopping is not None
        if call is not None and call.open and call.attempt == parent.attempt and not over:
            return None
        return f"run {parent.run_id} does not wait for it any more"

    async def _state(self, run_id: str) -> RunState | None:
        """Another run as it stands; None if its log cannot be read, which is no matter of this one's."""
        try:
            return (await fold_to(self._log, self._subjects, run_id, self._snapshots)).state
        except (InvalidInput, Unavailable) as error:
            if isinstance(error, Unavailable) and error.problem.code not in LOST:
                raise
            told = {"run": run_id, "problem": error.problem.code, "why": error.problem.message}
            _logger.warning("another run cannot be read", extra=told)
            return None
