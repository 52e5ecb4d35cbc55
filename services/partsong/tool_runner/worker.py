"""The tool-runner at work: a hint becomes a call and its result.

Functions, and tools that do no harm when they run twice, report a fact. A tool with side effects is claimed first, and so
is everything that was given to another worker before: the log counts the workers that die of it.
What this process has not got is handed back a few times, for tool-runners with other modules to find, before it is
reported as missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from nats.aio.client import Client

from partsong.bus.chunks import ChunkPublisher
from partsong.bus.claims import claim, claimed_by, report
from partsong.bus.handling import Busy
from partsong.contracts.errors import InvalidInput, Problem, Unavailable
from partsong.contracts.events import CallFailed, HookDecided
from partsong.contracts.wire.marks import Restored
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import ChildWork, FunctionWork, HookWork, ToolWork, TurnWork, Work
from partsong.execution.executor import Closed, Executor
from partsong.execution.hooks import Hooks
from partsong.log.port import Log
from partsong.runtime.recent import Recent
from partsong.runtime.telemetry import spans
from partsong.runtime.telemetry.telemetry import Telemetry, traceparent
from partsong.tool_runner.approvals import approved
from partsong.tool_runner.doubts import Doubts

__all__ = ["CallWorker"]

_log = logging.getLogger("partsong.tool_runner")

_HAND_BACK = 0.1
"""Seconds until a hint comes again that is for another tool-runner."""
_MOST = 6
"""How often one process hands the same hint back."""
_REMEMBERED = 10_000


class CallWorker:
    """Works off one hint at a time; call it as often at once as there are slots."""

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        store: Log,
        executor: Executor,
        hooks: Hooks,
        worker: str,
        telemetry: Telemetry,
        restores: Callable[[], Sequence[Restored]] = tuple,
    ) -> None:
        """`restores` are those of the log that is worked on."""
        self._restores, self._doubts = restores, Doubts(store, subjects)
        self._subjects, self._log, self._worker = subjects, store, worker
        self._executor, self._hooks, self._telemetry = executor, hooks, telemetry
        self._chunks = ChunkPublisher(nc, subjects)
        self._handed_back: Recent[str, int] = Recent(_REMEMBERED)

    async def work(self, work: Work) -> None:
        """Make the call and append its result.

        Raises:
            Busy: another tool-runner has claimed it, or may have what this one has not.
            InvalidInput: the hint is for another kind of worker.
            Unavailable: the log did not answer.
        """
        if isinstance(work, TurnWork | ChildWork):
            raise InvalidInput(
                "work.wrong_service",
                f"a tool-runner takes no work of kind {work.kind}",
                where="kind",
                fault="platform",
            )
        if not isinstance(work, HookWork):
            await self._executor.load(work)
        lacks = (
            self._hooks.lacks(work) if isinstance(work, HookWork) else self._executor.lacks(work)
        )
        if lacks and self._may_hand_back(work):
            raise Busy(_HAND_BACK)
        guarded = False
        if isinstance(work, ToolWork):
            work = await self._believed(work)
            guarded = await self._executor.guarded(work)
        if guarded or work.deaths:
            await self._claimed(work, guarded=guarded)
        else:
            result = await self._call(work)
            await report(self._log, self._subjects, work.run_id, result)
            await self._forget(work, result)

    async def _believed(self, work: ToolWork) -> ToolWork:
        """The work, approved only if it need not be or the log says so too; a hint alone proves nothing."""
        if work.approved is None or not await self._executor.asks(work):
            return work
        if await approved(self._log, self._subjects, work):
            return work
        if self._may_hand_back(work):
            raise Busy(_HAND_BACK)  # what was decided may not have reached this reader yet
        _log.warning("nobody approved that", extra={"call": work.call_id, "tool": work.tool})
        return work.model_copy(update={"approved": None})

    def _may_hand_back(self, work: FunctionWork | ToolWork | HookWork) -> bool:
        times = self._handed_back.pop(work.id, 0)
        if times >= _MOST:
            return False
        self._handed_back[work.id] = times + 1
        return True

    async def _claimed(self, work: FunctionWork | ToolWork | HookWork, *, guarded: bool) -> None:
        """Make a call that is claimed first: what must not be made twice, and what a worker may have died of."""
        if guarded and isinstance(work, ToolWork) and (restores := self._restores()):
            why = await self._doubts.about(work, restores)
            work = work.model_copy(update={"doubt": why})
        event = claimed_by(self._worker, work, repeatable=not guarded)
        claimed = await claim(self._log, self._subjects, work.run_id, event)
        if claimed == "busy":
            raise Busy
        if claimed == "closed":
            return
        result = await self._call(work)
        if not await claimed.close(result):
            _log.info("result superseded", extra={"call": work.call_id})
        await self._forget(work, result)

    async def _forget(
        self, work: FunctionWork | ToolWork | HookWork, result: Closed | HookDecided
    ) -> None:
        """Forget the call's redacted arguments; those that stay behind go with time."""
        if isinstance(work, HookWork) or isinstance(result, HookDecided):
            return
        try:
            await self._executor.forget(work, result)
        except Unavailable as error:
            _log.warning(
                "redacted arguments stay behind",
                extra={"call": work.call_id, "why": error.problem.message},
            )

    async def _call(self, work: FunctionWork | ToolWork | HookWork) -> Closed | HookDecided:
        if isinstance(work, HookWork):
            return await self._hooks.run(work)
        show = self._chunks.of(work.run_id, work.node, work.call_id)
        about = work.run_id, work.call_id
        with self._telemetry.span(
            spans.tool(work.tool, *about, attempt=work.attempt)
            if isinstance(work, ToolWork)
            else spans.function(work.function, *about, attempt=work.attempt),
            parent=traceparent(work.run_id, work.call_id.partition("/")[0]),
            at=traceparent(work.run_id, work.call_id, work.attempt),
        ) as span:
            result = await self._executor.run(work, show)
            if isinstance(result, CallFailed) and result.unapproved is None:
                span.fail(result.error)
        if isinstance(result, CallFailed) and result.unapproved is None:
            _say(work, result.error)
        return result


def _say(work: FunctionWork | ToolWork, problem: Problem) -> None:
    """One entry of the log per failed call."""
    about = {
        "run": work.run_id,
        "node": work.node,
        "call": work.call_id,
        "attempt": work.attempt,
        "code": problem.code,
        "why": problem.message,
    }
    traced = {} if problem.traceback is None else {"traceback": problem.traceback}
    _log.warning("call failed", extra={**about, **traced})
