"""`Toolset`: the tools an agent has, what it may do with them, and how its calls are made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from partsong.contracts.call_events import CallCompleted
from partsong.contracts.chunks import Chunk
from partsong.contracts.errors import InvalidInput, PartsongError, Problem
from partsong.contracts.messages import ToolCallPart, ToolMessage, ToolSpec
from partsong.contracts.work import ToolWork
from partsong.tool_runner.executor import Executor
from partsong.tool_runner.functions import Functions
from partsong.tools.registry import ToolRegistry
from partsong.tools.tool import AnyTool, SideEffect, Tool, tool

__all__ = ["Approve", "Tools", "Toolset", "perform"]

Approve: TypeAlias = Callable[[ToolCallPart], Awaitable[bool]]
"""Decides about a tool call that a person must approve: True lets it run."""

Tools: TypeAlias = "Toolset | ToolRegistry | Iterable[AnyTool | Callable[..., object]]"
"""Tools as an agent takes them; a plain function becomes a tool."""

_log = logging.getLogger("partsong.agents")

_STRENGTH: dict[SideEffect, int] = {"none": 0, "read": 1, "write": 2, "destructive": 3}


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
        may: SideEffect = "destructive",
        asks: SideEffect | None = None,
    ) -> None:
        """Look the tools up.

        Raises:
            NotFound: `tool.unknown`.
            InvalidInput: `tool.forbidden` for a named tool whose side effect goes beyond `may`.
        """
        self._registry = registry
        self._asks: SideEffect | None = asks
        found = [registry.get(name) for name in (registry.names if names is None else names)]
        beyond = [tool for tool in found if _STRENGTH[tool.side_effect] > _STRENGTH[may]]
        if beyond and names is not None:
            raise InvalidInput(
                "tool.forbidden",
                f"{beyond[0].name} has the side effect {beyond[0].side_effect}, allowed is up to {may}",
                where=beyond[0].name,
                fix="take it off the list, or allow more",
            )
        self._tools = {tool.name: tool for tool in found if tool not in beyond}

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
            tool.bind(call.args)
        except PartsongError as error:
            return error.problem
        if not self._needs_approval(tool):
            return None
        if approve is None:
            return Problem(
                code="tool.needs_approval",
                message=f"{call.name} needs a person's approval, and nobody is there to give it",
            )
        shown = call.model_copy(update={"args": tool.shown(call.args)})
        try:
            approved = await approve(shown)
        except Exception as error:
            _log.exception("approval failed", extra={"tool": call.name})
            return Problem(
                code="tool.approval_failed",
                message=f"nobody could be asked: {type(error).__name__}",
                fault="platform",
            )
        if approved:
            return None
        return Problem(code="tool.rejected", message=f"a person refused to let {call.name} run")

    def _needs_approval(self, tool: AnyTool) -> bool:
        asked = self._asks is not None and _STRENGTH[tool.side_effect] >= _STRENGTH[self._asks]
        return asked or tool.approval != "never"


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
        problem = await toolset.refusal(call, approve)
        if problem is not None:
            return _failed(call, problem)
        work = ToolWork(
            run_id=run_id, call_id=f"{turn}/c{index}", node=node, tool=call.name, args=call.args
        )
        outcome = await executor.run(work, show)
        if isinstance(outcome, CallCompleted):
            return ToolMessage(call_id=call.id, name=call.name, content=outcome.content)
        return _failed(call, outcome.error)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(i, call)) for i, call in enumerate(calls)]
    return [task.result() for task in tasks]


def _failed(call: ToolCallPart, problem: Problem) -> ToolMessage:
    text = f"{problem.code}: {problem.message}"
    return ToolMessage(call_id=call.id, name=call.name, content=text, is_error=True)
