"""The executor: makes one call, and always says how it ended."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, assert_never

from pydantic import JsonValue

from partsong.contracts.errors import PartsongError, Problem, Unavailable
from partsong.contracts.events import CallCompleted, CallFailed, CallSuspended
from partsong.contracts.graph.function_results import NodeContext
from partsong.contracts.plain import copied
from partsong.contracts.state.calls import FUNCTION_TIMEOUT
from partsong.contracts.state.state import MISSING
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.wire.work import FunctionWork, ToolWork
from partsong.execution.bounded import Bounded, Idle
from partsong.execution.core.problems import fell_silent, raised, timed_out
from partsong.execution.core.refused import Refused, refused
from partsong.execution.core.returned import Content, Returned, content, returned
from partsong.execution.core.signature import source_of
from partsong.execution.dependencies import given
from partsong.execution.emitter import Emitter
from partsong.execution.functions import Functions
from partsong.execution.outcome import Late, Outcome, Raised, Value, worth_a_retry
from partsong.execution.redacted import Suspended, forget, opened, snapshot_of, suspended
from partsong.execution.tracebacks import with_traceback
from partsong.execution.user_loops import CallName, UserLoops
from partsong.runtime.event_head import event_head
from partsong.runtime.vault import MemoryVault, Vault
from partsong.tools.pausing import Answer, Stopped
from partsong.tools.registry import ToolRegistry
from partsong.tools.tool import AnyTool, Bound

__all__ = ["Closed", "Emit", "Executor"]

Emit: TypeAlias = Callable[[Chunk], None]
"""Takes the chunks of a call as they come; called in the event loop."""

Closed: TypeAlias = CallCompleted | CallFailed | CallSuspended
"""How an attempt ended."""

_Result: TypeAlias = Returned | Content | Problem | Suspended | Refused


@dataclass(frozen=True, slots=True)
class _Read:
    """What a call returned, read, or why it cannot be."""

    result: Returned | Content | Stopped | Problem


_FIRST_WAIT = 0.1
"""Seconds before a tool's first retry; each further one waits twice as long."""


class Executor:
    """Calls functions and tools, at most `slots` at once; async ones in a task, sync ones in a thread."""

    def __init__(
        self,
        functions: Functions,
        tools: ToolRegistry,
        *,
        slots: int = 64,
        worker: str = "",
        loops: UserLoops | None = None,
        vault: Vault | None = None,
        raised: Callable[[Problem, BaseException], None] = lambda _problem, _error: None,
    ) -> None:
        """Async functions and tools run in `loops`, or where the executor is used; `vault` has redacted arguments.

        `raised` is shown what functions and tools raise.

        Raises:
            Unavailable: `cel.not_installed`, for a tool whose rule for approval could not be followed here.
        """
        for name in tools.names:
            tools.get(name).require()
        self._vault, self._raised = vault or MemoryVault(), raised
        self._functions, self._tools, self._worker = functions, tools, worker
        self._slots = asyncio.Semaphore(slots)
        self._gates: dict[int, asyncio.Semaphore] = {}
        self._bounded = Bounded(loops)

    @property
    def abandoned(self) -> int:
        """Calls whose time was over and that have not ended yet. They hold no slot."""
        return self._bounded.abandoned

    async def guarded(self, work: ToolWork) -> bool:
        """Whether a call must be claimed before it is made, or refused; an unknown tool is not called at all.

        Raises:
            Unavailable: the vault did not answer.
        """
        try:
            tool = self._tool_of(work)
        except PartsongError:
            return False
        return tool.guarded or (work.approved is None and await self.asks(work))

    async def asks(self, work: ToolWork) -> bool:
        """Whether a person must agree to a call; nobody is asked about one with wrong arguments.

        Raises:
            Unavailable: the vault did not answer.
        """
        try:
            tool = self._tool_of(work)
            return tool.bind(await opened(tool, work, self._vault)).needs_approval(work.asks)
        except Unavailable:
            raise
        except PartsongError:
            return False

    async def opened(self, work: ToolWork, args: JsonValue) -> JsonValue:
        """The arguments of a call, or others in their place, with the values of those that are redacted.

        Raises:
            NotFound: `tool.unknown`, `tool.redacted_gone`.
            Unavailable: the vault did not answer.
        """
        work = work.model_copy(update={"args": args})
        return await opened(self._tool_of(work), work, self._vault)

    async def load(self, work: FunctionWork | ToolWork) -> None:
        """Import the module of what was not called before, off the loop: an import may take seconds."""
        names = (work.function,) if isinstance(work, FunctionWork) else tuple(work.sources.values())
        if any(map(self._functions.imports, names)):
            await asyncio.to_thread(self.lacks, work)

    def lacks(self, work: FunctionWork | ToolWork) -> bool:
        """Whether this process has not got what the work calls, and another one may."""
        try:
            match work:
                case FunctionWork():
                    self._functions.get(work.function)
                case ToolWork():
                    if self._tool_of(work).pausing is not None:
                        for name in work.tools:
                            self._tool_of(work, name)
                case _:
                    assert_never(work)
        except PartsongError as error:
            return error.problem.code in MISSING
        return False

    async def run(self, work: FunctionWork | ToolWork, emit: Emit) -> Closed:
        """Make the call and say how it ended, or where it waits; nothing is raised but `CancelledError`.

        Its time counts from when it has a slot. When that is over the slot is free, even if the function is stuck.
        """
        emitter = Emitter(work.call_id, work.attempt, emit)
        context = NodeContext(work.run_id, work.node, work.attempt, work.idempotency_key, emitter)
        result: _Result
        try:
            match work:
                case FunctionWork():
                    result = await self._function(work, context, emitter)
                case ToolWork():
                    result = await self._tool(work, context)
                case _:
                    assert_never(work)
        except asyncio.CancelledError:
            emitter.end(Problem(code="call.cancelled", message="nobody needs it any more"))
            raise
        except PartsongError as error:
            # If a module did not load, what its import raised.
            result = with_traceback(error.problem, error.__cause__)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # A user's validator or serializer; some libraries panic outside Exception.
            result = with_traceback(raised(work.kind, error, None), error)
        emitter.end(_problem_of(result))
        return self._closed(work, result)

    async def called(self, work: FunctionWork | ToolWork, emit: Emit) -> Closed:
        """Make the call where nothing is made twice: its redacted arguments are forgotten at once."""
        result = await self.run(work, emit)
        await self.forget(work, result)
        return result

    async def forget(self, work: FunctionWork | ToolWork, result: Closed) -> None:
        """Forget the redacted arguments of a call once what became of it is known to whoever asked for it."""
        if isinstance(work, ToolWork) and (tool := self._known(work, work.tool)) is not None:
            await forget(tool, work, result, self._vault)

    def close(self) -> None:
        """Let idle threads end, and cancel once more what was left behind."""
        self._bounded.close()

    async def _function(
        self, work: FunctionWork, context: NodeContext, emitter: Emitter
    ) -> _Result:
        callee = self._functions.get(work.function)
        state = copied(work.state)
        make, is_async = _read(lambda: callee.call(state, context), returned), callee.is_async
        if callee.needs:
            make, is_async = given(
                callee.needs,
                lambda values: _read(lambda: callee.call(state, context, values), returned)(),
                context,
                is_async=is_async,
            )
        async with self._slots:
            outcome = await self._bounded.call(
                make,
                is_async=is_async,
                within=FUNCTION_TIMEOUT if work.timeout is None else work.timeout,
                idle=Idle(work.idle_timeout, lambda: emitter.last) if work.idle_timeout else None,
                name=CallName(work.function, work.run_id, work.call_id),
            )
        match outcome:
            case Value(_Read(Returned() | Problem() as result)):
                return result
            case Value():
                raise AssertionError(outcome)  # whatever is returned is read
            case Raised(error):
                return self._problem("function", error, callee.source)
            case Late(seconds, idle=True):
                return fell_silent("function", work.function, seconds)
            case Late(seconds):
                return timed_out("function", work.function, seconds, unknown=False)
            case _:
                assert_never(outcome)

    async def _tool(self, work: ToolWork, context: NodeContext) -> _Result:
        tool = self._tool_of(work)
        tool.check_permitted(work.may)
        args = await opened(tool, work, self._vault)
        bound = tool.bind(args)
        if work.doubt or (work.approved is None and bound.needs_approval(work.asks)):
            return refused(tool, work.args, work.doubt)
        hide_text = partial(tool.without_secrets, args=args)
        hide = hide_text if tool.redact else None

        def said(value: object) -> Content | Stopped:
            return value if isinstance(value, Stopped) else content(value, tool.output_cap, hide)

        make, is_async = _read(await self._made(bound, work, context), said), tool.is_async
        if tool.parameters.needs:
            make, is_async = given(
                tool.parameters.needs,
                lambda values: _read(lambda: bound.call(context, values), said)(),
                context,
                is_async=is_async,
            )
        async with self._gate(tool), self._slots:
            outcome = await self._tried(bound, make, work, is_async=is_async)
        match outcome:
            case Value(_Read(Stopped() as stopped)):
                return await suspended(stopped, self._hidden(work, stopped.tool), work, self._vault)
            case Value(_Read(Content() | Problem() as result)):
                return result
            case Value():
                raise AssertionError(outcome)  # whatever is returned is read
            case Raised(error):
                return self._problem("tool", error, source_of(tool.function), hide_text)
            case Late(seconds):
                return timed_out("tool", work.tool, seconds, unknown=tool.guarded)
            case _:
                assert_never(outcome)

    def _problem(
        self,
        kind: Literal["function", "tool"],
        error: BaseException,
        source: str | None,
        hide: Callable[[str], str] = str,
    ) -> Problem:
        problem = with_traceback(raised(kind, error, source, hide), error, hide)
        self._raised(problem, error)
        return problem

    async def _made(
        self, bound: Bound, work: ToolWork, context: NodeContext
    ) -> Callable[[], object]:
        """What makes the call; code that may call tools runs until it does."""
        pausing = bound.tool.pausing
        if pausing is None or not (work.tools or work.resume):
            return lambda: bound.call(context)
        found = {name: self._known(work, name) for name in work.tools}
        tools = {name: _parameters(tool) for name, tool in found.items() if tool is not None}
        if (resume := work.resume) is None:
            return lambda: pausing.begin(bound.values, tools)
        answer = Answer(resume.result, resume.error)
        snapshot = await snapshot_of(resume, self._vault)
        return lambda: pausing.go_on(snapshot, answer, tools)

    def _hidden(self, work: ToolWork, name: str) -> frozenset[str]:
        tool = self._known(work, name)
        return tool.redact if tool is not None else frozenset()

    def _tool_of(self, work: ToolWork, name: str | None = None) -> AnyTool:
        """The tool that a call is for, or another one that its code may call."""
        name = work.tool if name is None else name
        tool = self._tools.get(name, work.sources.get(name, ""))
        tool.require()
        return tool

    def _known(self, work: ToolWork, name: str) -> AnyTool | None:
        try:
            return self._tool_of(work, name)
        except PartsongError:
            return None

    async def _tried(
        self, bound: Bound, make: Callable[[], object], work: ToolWork, *, is_async: bool
    ) -> Outcome:
        """Call a tool, and again if it raised and may be repeated; all of it within the call's time."""
        tool, now = bound.tool, asyncio.get_running_loop().time
        end = math.inf if work.timeout is None else now() + work.timeout
        wait, left = _FIRST_WAIT, tool.retries
        while True:
            limit = min(math.inf if tool.timeout is None else tool.timeout, end - now())
            outcome = await self._bounded.call(
                make,
                is_async=is_async,
                within=None if limit == math.inf else limit,
                name=CallName(work.tool, work.run_id, work.call_id),
            )
            if not left or not worth_a_retry(outcome) or now() + wait >= end:
                return outcome
            await asyncio.sleep(wait)
            wait, left = 2 * wait, left - 1

    def _gate(self, tool: AnyTool) -> AbstractAsyncContextManager[None]:
        if tool.concurrency is None:
            return nullcontext()
        return self._gates.setdefault(id(tool), asyncio.Semaphore(tool.concurrency))

    def _closed(self, work: FunctionWork | ToolWork, result: _Result) -> Closed:
        head = event_head(work, "closed", self._worker)
        match result:
            case Problem():
                return CallFailed(error=result, **head)
            case Refused(problem, unapproved):
                return CallFailed(error=problem, unapproved=unapproved, **head)
            case Suspended(tool, args, snapshot):
                return CallSuspended(tool=tool, args=args, snapshot=snapshot, **head)
            case Returned():
                return CallCompleted(
                    update=result.update,
                    more=result.more,
                    label=result.label,
                    goto=result.goto,
                    private=result.private,
                    **head,
                )
            case Content(value):
                return CallCompleted(content=value, **head)
            case _:
                assert_never(result)


def _read(
    make: Callable[[], object], read: Callable[[object], Returned | Content | Stopped]
) -> Callable[[], object]:
    """Makes a call and reads what it returned in the same place: that runs foreign code too, and takes its time."""

    def made() -> object:
        value = make()
        return awaited(value) if inspect.isawaitable(value) else reading(value)

    async def awaited(value: Awaitable[object]) -> _Read:
        return reading(await value)

    def reading(value: object) -> _Read:
        try:
            return _Read(read(value))
        except PartsongError as error:
            return _Read(error.problem)

    return made


def _parameters(tool: AnyTool) -> tuple[str, ...]:
    properties = tool.parameters.schema.get("properties")
    return tuple(properties) if isinstance(properties, dict) else ()


def _problem_of(result: _Result) -> Problem | None:
    match result:
        case Problem():
            return result
        case Refused(problem):
            return problem
        case _:
            return None
