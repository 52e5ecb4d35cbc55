"""`Toolset`: the tools an agent has, what it may do with them, and how its calls are made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, assert_never

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, PartsongError, Problem
from partsong.contracts.events import (
    ArgumentsEdit,
    CallCompleted,
    CallFailed,
    CallSuspended,
    Unapproved,
)
from partsong.contracts.graph.function_results import Approved, Edited, Rejected
from partsong.contracts.plain import plain
from partsong.contracts.state.tool_calls import answer_to, edit_of, edited, malformed, with_edit
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.talk.messages import ToolCallPart, ToolMessage, ToolSpec
from partsong.contracts.wire.work import Resume, ToolWork
from partsong.execution.executor import Executor
from partsong.execution.functions import Functions
from partsong.runtime.consent import Answer, consent, reason_of
from partsong.runtime.vault import Vault
from partsong.tools.registry import ToolRegistry
from partsong.tools.tool import AnyTool, SideEffect, as_tool

__all__ = ["ASKED", "UNASKED", "Agreed", "Approve", "Tools", "Toolset", "perform"]

Approve: TypeAlias = Callable[[ToolCallPart], Awaitable[Answer] | Answer]
"""Decides about a tool call that a person must approve: True or `Approved` lets it run, `Edited` with other arguments.

Whatever else it returns refuses, and so does what it raises; the model is told so.
"""

Tools: TypeAlias = "Toolset | ToolRegistry | Iterable[AnyTool | Callable[..., object]]"
"""Tools as an agent takes them; a plain function becomes a tool."""

_Opened: TypeAlias = Callable[[JsonValue], Awaitable[JsonValue]]
"""Finds the arguments of a call whose values are redacted."""

ASKED = "callback"
"""Who has agreed to a call where `approve` was asked, if anybody had to."""
UNASKED = "tool.needs_approval"
"""Code of the error of a call that needs a person's approval where nobody can be asked."""

_log = logging.getLogger("partsong.agents")


@dataclass(frozen=True, slots=True)
class Agreed:
    """The arguments that a call may be made with, and what a person has changed of them."""

    args: JsonValue
    edit: ArgumentsEdit | None = None


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
        made = [as_tool(given) for given in tools]
        return cls(ToolRegistry(made), [each.name for each in made])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its tools."""
        return tuple(self._tools)

    @property
    def own(self) -> tuple[AnyTool, ...]:
        """Its tools, the built-in ones left out."""
        return tuple(tool for tool in self._tools.values() if tool in self._registry.own)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """Its tools as a model sees them."""
        return tuple(tool.spec() for tool in self._tools.values())

    def executor(self, vault: Vault) -> Executor:
        """Something to make the calls with, of which `vault` keeps redacted arguments; to be closed."""
        return Executor(Functions(), self._registry, vault=vault)

    async def agreed(
        self,
        call: ToolCallPart,
        approve: Approve | None,
        deadline: float | None = None,
        *,
        opened: _Opened | None = None,
    ) -> Agreed | Problem:
        """What a call may be made with, or why it must not be made.

        Arguments are checked before anybody is asked to approve, and so are those that whoever approves puts in their
        place. `deadline` is for tools that have none; `opened` finds the values of those that are redacted.
        """
        tool = self._tools.get(call.name)
        if tool is None:
            there = ", ".join(self._tools) or "none"
            return Problem(
                code="tool.unknown", message=f"there is no tool {call.name!r}; there are: {there}"
            )
        try:
            bound = tool.bind(call.args if opened is None else await opened(call.args))
        except PartsongError as error:
            return error.problem
        if not bound.needs_approval(self.asks):
            return Agreed(call.args)
        if approve is None:
            return Problem(
                code=UNASKED,
                message=f"{call.name} needs a person's approval, and nobody is there to give it",
            )
        try:
            return await _asked(tool, call, approve, tool.approval_deadline or deadline, opened)
        except PartsongError as error:
            return error.problem


async def _asked(
    tool: AnyTool,
    call: ToolCallPart,
    approve: Approve,
    deadline: float | None,
    opened: _Opened | None,
) -> Agreed | Problem:
    """What a person says to a call.

    Raises:
        InvalidInput: `approval.bad_edit`, `tool.invalid_arguments`.
        Unavailable: `approval.expired`.
    """
    shown = call.model_copy(update={"args": tool.shown(call.args)})
    try:
        answer = await consent(approve, shown, call.name, deadline)
    except PartsongError as error:
        problem = error.problem
        if problem.code == "approval.expired":
            raise
        _log.exception("approval failed", extra={"tool": call.name})
        said = f"{problem.code}: {problem.message}"
        return problem.model_copy(update={"code": "tool.approval_failed", "message": said})
    match answer:
        case Approved():
            return Agreed(call.args)
        case Edited():
            return await _edited(tool, call.args, answer, opened)
        case Rejected():
            why = f": {reason}" if (reason := reason_of(answer)) else ""
            said = f"a person refused to let {call.name} run{why}"
            return Problem(code="tool.rejected", message=said)
        case _:
            assert_never(answer)


async def _edited(
    tool: AnyTool, args: dict[str, JsonValue], answer: Edited, opened: _Opened | None
) -> Agreed:
    """The arguments that a person agreed to, checked as a model's are.

    Raises:
        InvalidInput: `approval.bad_edit`, `tool.invalid_arguments`.
    """
    about = Unapproved(args=tool.shown(args), digest="")
    edit = edit_of(about, plain(answer.value, "edit", "approval.bad_edit"))
    changed = edited(args, edit)
    if edit is not None and (shown := tool.redact & (edit.args.keys() - {*edit.kept})):
        raise InvalidInput(
            "approval.bad_edit",
            f"{', '.join(sorted(shown))} of {tool.name} is redacted, and stays as it is: an edit is shown",
            where="edit",
            fix="leave it as it is shown, or refuse the call with a reason",
        )
    tool.bind(changed if opened is None else await opened(changed))
    return Agreed(changed, edit)


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
    deadline: float | None = None,
) -> list[ToolMessage]:
    """Make a turn's calls side by side; one result each, in the order of the calls, whatever happens."""
    made = _Caller(toolset, executor, approve, deadline, show)

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
        outcome = (call.name in toolset.names and malformed(call)) or await made.make(work, call.id)
        if isinstance(outcome, Problem):
            return _failed(call, outcome)
        return ToolMessage(call_id=call.id, name=call.name, content=outcome)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(i, call)) for i, call in enumerate(calls)]
    return [task.result() for task in tasks]


@dataclass(frozen=True, slots=True)
class _Caller:
    toolset: Toolset
    executor: Executor
    approve: Approve | None
    deadline: float | None
    show: Callable[[Chunk], None]

    async def make(self, work: ToolWork, id: str) -> JsonValue | Problem:
        """Make one call, and those that its code makes."""
        args = work.args if isinstance(work.args, dict) else {}
        call = ToolCallPart(id=id, name=work.tool, args=args)
        opened = partial(self.executor.opened, work)
        agreed = await self.toolset.agreed(call, self.approve, self.deadline, opened=opened)
        if isinstance(agreed, Problem):
            return agreed
        work = work.model_copy(update={"approved": ASKED, "args": agreed.args})
        while True:
            outcome = await self.executor.called(work, self.show)
            match outcome:
                case CallCompleted():
                    return with_edit(agreed.edit, outcome.content)
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
                    found = await self.make(nested, nested.call_id)
                    again = {"attempt": work.attempt + 1, "resume": _resume(outcome, found)}
                    work = work.model_copy(update=again)
                case _:
                    assert_never(outcome)


def _resume(paused: CallSuspended, found: JsonValue | Problem) -> Resume:
    if isinstance(found, Problem):
        return Resume(snapshot=paused.snapshot, error=f"{found.code}: {found.message}")
    return Resume(snapshot=paused.snapshot, result=found)


def _failed(call: ToolCallPart, problem: Problem) -> ToolMessage:
    text = f"{problem.code}: {problem.message}"
    return ToolMessage(call_id=call.id, name=call.name, content=text, is_error=True)
