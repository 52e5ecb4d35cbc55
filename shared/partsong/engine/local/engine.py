"""One run in one process: decide, commit, call, and fold what the calls return into the next commit.

The run's only writer is this engine, so a call's result travels inside the next commit: one append per step.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import Protocol

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import PartsongError
from partsong.contracts.events.envelope import decode
from partsong.contracts.graph import Graph
from partsong.contracts.graph.conform import check_edit
from partsong.contracts.graph.function_results import Edited, Rejected
from partsong.contracts.plain import plain
from partsong.contracts.state.fold import fold_all
from partsong.contracts.state.state import Call, RunState, Timer
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import ChildWork, Work
from partsong.engine.commands import runs
from partsong.engine.decide import decide
from partsong.engine.draft import Decision
from partsong.engine.ledger import Ledger
from partsong.engine.work.hints import work_of
from partsong.log.port import Log
from partsong.log.reading import body_of
from partsong.runtime import clock
from partsong.runtime.consent import Answer, Verdict, consent, reason_of
from partsong.runtime.evaluation.evaluator import settle

__all__ = ["Approver", "Item", "LocalRun", "Perform", "Result"]

Approver = Callable[[e.ApprovalRequested], Awaitable[Answer] | Answer]
"""Decides an approval in this process, `async` or not: True and False, or `Approved`, `Edited` and `Rejected` with a reason.

Whatever else it returns refuses, and so does what it raises; the reason in the log says so.
"""

Item = e.Event | Chunk
"""What a stream of a run yields."""

Result = (
    e.CallCompleted
    | e.CallFailed
    | e.CallSuspended
    | e.AgentTurnCompleted
    | e.AgentTurnFailed
    | e.ApprovalDecided
    | e.ChildEnded
    | e.HookDecided
    | tuple[e.RouteDecided, e.AgentTurnCompleted | e.AgentTurnFailed]
)
"""How a call ended; a turn's with the choice of its model, if there was one."""


_log = logging.getLogger("partsong.engine")

_AWAITED = frozenset({"retry", "wait", "signal_deadline"})
"""Purposes of timers that a run in this process waits for; nobody sends it a signal while it runs."""


class Perform(Protocol):
    """Makes one call and says how it ended; raises only if it is cancelled."""

    def __call__(self, work: Work, emit: Callable[[Chunk], None]) -> Coroutine[None, None, Result]:
        """Make the call; `emit` takes its chunks as they come."""
        ...


class LocalRun:
    """Drives one run until it ends, or until it waits for somebody outside this process."""

    def __init__(
        self,
        log: Log,
        run_id: str,
        perform: Perform,
        *,
        approve: Approver | None = None,
        emit: Callable[[Item], None] | None = None,
    ) -> None:
        self._log = log
        self._ledger = Ledger(log, Subjects(), run_id)
        self._perform = perform
        self._approve = approve
        self._emit = emit or (lambda _item: None)
        self._inbox: asyncio.Queue[Result | str | Exception | None] = asyncio.Queue()
        self._tasks: dict[str, dict[asyncio.Task[None], None]] = {}
        """What is being done, by its call and by all that this is a part of: `m:1/0/a:1`, `m:1/0` and `m:1`."""
        self._timers: list[asyncio.TimerHandle] = []
        self._owed = 0
        self._awaited: set[str] = set()
        self.events: list[e.Event] = []
        """What this process added to the log."""

    @property
    def state(self) -> RunState:
        """The run as it stands."""
        return self._ledger.state

    async def load(self) -> RunState:
        """Read what the log already holds of the run."""
        await self._ledger.refresh()
        runs.known(self._ledger.state)
        return self._ledger.state

    async def go(self, news: tuple[e.Event, ...] = ()) -> RunState:
        """Run until nothing is left to do here. `news` are folded before the first decision."""
        try:
            self._resume(news)
            while not (await self._step(news)).ended and self._owed:
                news = await self._hear()
        finally:
            await self._let_go()
        return self.state

    async def requests(self) -> list[e.ApprovalRequested]:
        """The approvals that the run waits for."""
        asked: dict[str, e.ApprovalRequested] = {}
        async for record in self._log.read(Subjects().engine(self.state.run_id)):
            for event in decode(body_of(record)).events:
                if isinstance(event, e.ApprovalRequested):
                    asked[event.call_id] = event
        return [
            asked[call.id]
            for call in self.state.calls.values()
            if call.kind == "approval" and call.open and call.id in asked
        ]

    def _resume(self, news: tuple[e.Event, ...]) -> None:
        """Make the calls again that a process before this one left open, and set its timers."""
        if any(isinstance(event, e.RunStarted | e.RunForked | e.RunRetried) for event in news):
            return
        for timer in self.state.timers.values():
            self._set(timer)
        for call in self.state.calls.values():
            self._begin(call)

    async def _step(self, news: tuple[e.Event, ...]) -> RunState:
        """Fold news, decide, commit; then begin what was decided. What goes on for long does so in several commits."""
        while await self._decided(news):
            news = ()
            await asyncio.sleep(0)  # others in this loop have their turn
        return self.state

    async def _decided(self, news: tuple[e.Event, ...]) -> bool:
        """Decide once; whether more follows at once."""
        state = fold_all(self.state, news)
        decision = await self._decision(state)
        events = [*news]
        while decision.closings:
            closing = tuple(closing.event for closing in decision.closings)
            events += closing
            state = fold_all(state, closing)
            decision = await self._decision(state)
        events += decision.events
        if events:
            await self._ledger.commit(tuple(events), decision.state)
            self._ledger.settle()
            self.events += events
            for event in events:
                self._emit(event)
                self._follow(event)
        return decision.more

    async def _decision(self, state: RunState) -> Decision:
        return await settle(
            lambda evaluate: decide(state, clock.now_text(), park=False, evaluate=evaluate)
        )

    def _follow(self, event: e.Event) -> None:
        match event:
            case e.CallRequested() | e.AgentTurnRequested():
                if call := self.state.calls.get(event.call_id):
                    self._begin(call)
            case e.ApprovalRequested():
                asked = self.state.calls.get(event.call_id)
                if self._approve is not None and asked is not None and asked.open:
                    self.ask(self._approve, event)
            case e.TimerSet() if event.timer_id in self.state.timers:
                self._set(self.state.timers[event.timer_id])
            case e.NodeCancelled() | e.NodeFailed():
                self._drop(event.exec)
            case e.ScopeClosed():
                self._drop(event.scope)
            case _:
                pass

    def _begin(self, call: Call) -> None:
        if (
            call.open
            and call.kind != "approval"
            and (work := work_of(self.state, call)) is not None
        ):
            making = self._child(work) if isinstance(work, ChildWork) else None
            self._spawn(call.id, making or self._perform(work, self._emit))

    def ask(self, approve: Approver, request: e.ApprovalRequested) -> None:
        """Let `approve` decide a request; the answer is heard like any other."""
        self._spawn(request.call_id, self._ask(approve, request))

    def _drop(self, owner: str) -> None:
        """Cancel what is being done for an execution or scope."""
        for task in self._tasks.get(owner, ()):
            task.cancel()

    def _spawn(self, call_id: str, making: Coroutine[None, None, Result]) -> None:
        self._owed += 1
        task = asyncio.ensure_future(self._deliver(making))
        owners = [call_id[:end] for end, sign in enumerate(call_id) if sign == "/"]
        for owner in (*owners, call_id):
            self._tasks.setdefault(owner, {})[task] = None
        task.add_done_callback(partial(self._done, (*owners, call_id)))

    def _done(self, owners: tuple[str, ...], task: asyncio.Task[None]) -> None:
        for owner in owners:
            del self._tasks[owner][task]
            if not self._tasks[owner]:
                del self._tasks[owner]

    async def _child(self, work: ChildWork) -> Result:
        """Run a detached subgraph on the same log, or go on with it."""
        child = LocalRun(
            self._log, work.child, self._perform, approve=self._approve, emit=self._emit
        )
        news: tuple[e.Event, ...] = ()
        if (await child.load()).graph is None:
            graph = Graph.model_validate(work.graph)
            now = clock.now_text()
            news = runs.start(work.child, graph, work.input, work.options, work.id, now)
        state = await child.go(news)
        return runs.child_ended(state, work.options.parent, clock.now_text())

    async def _deliver(self, making: Coroutine[None, None, Result]) -> None:
        """Put into the inbox what a call returns; an error here is a fault of ours and must not look like a hang."""
        try:
            self._inbox.put_nowait(await making)
        except asyncio.CancelledError:
            self._inbox.put_nowait(None)
            raise
        except Exception as error:
            self._inbox.put_nowait(error)
        except BaseException as error:
            self._inbox.put_nowait(RuntimeError(f"{type(error).__name__}: {error}"))
            raise

    async def _ask(self, approve: Approver, request: e.ApprovalRequested) -> Result:
        edited: JsonValue = None
        answer: Verdict
        try:
            answer = await consent(approve, request, request.call_id)
            if isinstance(answer, Edited):
                edited = plain(answer.value, "edit", "approval.bad_edit")
            check = partial(check_edit, edited, request.editable, request.edit_schema, "approve")
            await settle(check)
        except PartsongError as error:
            _log.exception("approval failed", extra={"call": request.call_id})
            problem, edited = error.problem, None
            answer = Rejected(f"{problem.code}: {problem.message}")
        return e.ApprovalDecided(
            id=f"{self.state.run_id}.{request.call_id}.decided",
            time=clock.now_text(),
            cause=request.id,
            call_id=request.call_id,
            decision="reject" if isinstance(answer, Rejected) else "approve",
            by="callback",
            reason=reason_of(answer),
            edited=edited,
        )

    def _set(self, timer: Timer) -> None:
        """Let a timer fire; an approval's deadline, or the run's, keeps nobody here: it holds for whoever goes on with the run."""
        wait = (datetime.fromisoformat(timer.at) - clock.now()).total_seconds()
        if timer.purpose in _AWAITED:
            self._awaited.add(timer.id)
            self._owed += 1
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(max(0.0, wait), self._inbox.put_nowait, timer.id))

    async def _hear(self) -> tuple[e.Event, ...]:
        """Wait for a result or a timer, and take all that has come by then."""
        heard = [await self._inbox.get()]
        while not self._inbox.empty():
            heard.append(self._inbox.get_nowait())
        news: list[e.Event] = []
        for item in heard:
            if not isinstance(item, str) or item in self._awaited:
                self._owed -= 1
            if isinstance(item, Exception):
                raise item
            if item is None:
                continue
            if isinstance(item, str):
                self._awaited.discard(item)
                news += runs.fired(fold_all(self.state, news), item, clock.now_text())
            else:
                news += item if isinstance(item, tuple) else (item,)
        return tuple(news)

    async def _let_go(self) -> None:
        for handle in self._timers:
            handle.cancel()
        tasks = {task for tasks in self._tasks.values() for task in tasks}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
