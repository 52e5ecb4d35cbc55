"""`Toolset`: the tools an agent has, what it may do with them, and how its calls are made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias, assert_never

from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.events import CallCompleted, CallFailed, CallSuspended
from partsong.contracts.state.tool_calls import answer_to
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.talk.messages import ToolCallPart, ToolMessage, ToolSpec
from partsong.contracts.wire.work import Resume, ToolWork
from partsong.execution.executor import Executor
from partsong.execution.functions import Functions
from partsong.runtime.consent import consent
from partsong.tools.registry import ToolRegistry
from partsong.tools.tool import AnyTool, SideEffect, Tool, tool

__all__ = ["ASKED", "UNASKED", "Approve", "Tools", "Toolset", "perform"]

Approve: TypeAlias = Callable[[ToolCallPart], Awaitable[bool] | bool]
"""Decides about a tool call that a person must approve: True lets it run."""

Tools: TypeAlias = "Toolset | ToolRegistry | Iterable[AnyTool | Callable[..., object]]"
"""Tools as an agent takes them; a plain function becomes a tool."""

ASKED = "callback"
"""Who has agreed to a call where `approve` was asked, if anybody had to."""
UNASKED = "tool.needs_approval"
"""Code of the error of a call that needs a person's approval where nobody can be asked."""

_log = logging.getLogger("partsong.agents")


class Toolset:
    """Tools by name, out of a registry: all of them, or those that are named.

    `may` is the strongest side effect a call may have: tools beyond it are left out of all, and cannot be named. From the
    side effect `asks` on, a call needs approval even if its tool does not demand one.
    """

    def __init__(
        self,
        registry: ToolRegistry,
        names: Iterable[str] | None = None,
        *,
        may: SideEffect | None = None,
        asks: SideEffect | None = None,
    ) -> None:
        """Look the tools up.

        Raises:
            NotFound: `tool.unknown`.
            InvalidInput: `tool.forbidden` for a named tool whose side effect goes beyond `may`.
        """
        self._registry = registry
        self.may: SideEffect | None = may
        """The strongest side effect a call may have; None is any."""
        self.asks: SideEffect | None = asks
        """From this side effect on, a person must approve a call."""
        found = [registry.get(name) for name in (registry.names if names is None else names)]
        if names is not None:
            for each in found:
                each.check_permitted(may)
        self._tools = {each.name: each for each in found if each.permitted(may)}

    @classmethod
    def of(cls, tools: Tools) -> Toolset:
        """A toolset of just these."""
        if isinstance(tools, Toolset):
            return tools
        if isinstance(tools, ToolRegistry):
            return cls(tools)
        made = [given if isinstance(given, Tool) else tool(given) for given in tools]
        return cls(ToolRegistry(made), [each.name for each in made])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its tools."""
        return tuple(self._tools)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """Its tools as a model sees them."""
        return tuple(tool.spec() for tool in self._tools.values())

    def executor(self) -> Executor:
        """Something to make the calls with; to be closed."""
        return Executor(Functions(), self._registry)

    async def refusal(self, call: ToolCallPart, approve: Approve | None) -> Problem | None:
        """Why a call must not be made. Arguments are checked before anybody is asked to approve."""
        tool = self._tools.get(call.name)
        if tool is None:
            there = ", ".join(self._tools) or "none"
            return Problem(
                code="tool.unknown", message=f"there is no tool {call.name!r}; there are: {there}"
            )
        try:
            bound = tool.bind(call.args)
        except PartsongError as error:
            return error.problem
        if not bound.needs_approval(self.asks):
            return None
        if approve is None:
            return Problem(
                code=UNASKED,
                message=f"{call.name} needs a person's approval, and nobody is there to give it",
            )
        shown = call.model_copy(update={"args": tool.shown(call.args)})
        try:
            approved = await consent(approve, shown, call.name)
        except PartsongError as error:
            _log.exception("approval failed", extra={"tool": call.name})
            why = type(error.__cause__).__name__ if error.__cause__ else "neither yes nor no"
            return Problem(
                code="tool.approval_failed",
                message=f"nobody could be asked: {why}",
                fault="platform",
            )
        if approved is True:
            return None
        return Problem(code="tool.rejected", message=f"a person refused to let {call.name} run")


async def perform(
    toolset: Toolset,
    executor: Executor,
    calls: tuple[ToolCallPart, ...],
    approve: Approve | None,
    show: Callable[[Chunk], None],
    *,
    run_id: str,
    node: str,
    turn: str,
) -> list[ToolMessage]:
    """Make a turn's calls side by side; one result each, in the order of the calls, whatever happens."""

    async def one(index: int, call: ToolCallPart) -> ToolMessage:
        others = tuple(name for name in toolset.names if name != call.name)
        work = ToolWork(
            run_id=run_id,
            call_id=f"{turn}/c{index}",
            node=node,
            tool=call.name,
            args=call.args,
            tools=others,
        )
        outcome = await _made(toolset, executor, work, call.id, approve, show)
        if isinstance(outcome, Problem):
            return _failed(call, outcome)
        return ToolMessage(call_id=call.id, name=call.name, content=outcome.content)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(i, call)) for i, call in enumerate(calls)]
    return [task.result() for task in tasks]


async def _made(
    toolset: Toolset,
    executor: Executor,
    work: ToolWork,
    id: str,
    approve: Approve | None,
    show: Callable[[Chunk], None],
) -> CallCompleted | Problem:
    """Make one call, and those that its code makes."""
    args = work.args if isinstance(work.args, dict) else {}
    problem = await toolset.refusal(ToolCallPart(id=id, name=work.tool, args=args), approve)
    if problem is not None:
        return problem
    work = work.model_copy(update={"approved": ASKED})
    while True:
        outcome = await executor.run(work, show)
        match outcome:
            case CallCompleted():
                return outcome
            case CallFailed():
                return outcome.error
            case CallSuspended():
                nested = work.model_copy(
                    update={
                        "call_id": answer_to(outcome),
                        "attempt": 1,
                        "tool": outcome.tool,
                        "args": outcome.args,
                        "tools": (),
                        "resume": None,
                    }
                )
                found = await _made(toolset, executor, nested, nested.call_id, approve, show)
                again = {"attempt": work.attempt + 1, "resume": _resume(outcome, found)}
                work = work.model_copy(update=again)
            case _:
                assert_never(outcome)


def _resume(paused: CallSuspended, found: CallCompleted | Problem) -> Resume:
    if isinstance(found, Problem):
        return Resume(snapshot=paused.snapshot, error=f"{found.code}: {found.message}")
    return Resume(snapshot=paused.snapshot, result=found.content)


def _failed(call: ToolCallPart, problem: Problem) -> ToolMessage:
    text = f"{problem.code}: {problem.message}"
    return ToolMessage(call_id=call.id, name=call.name, content=text, is_error=True)
