"""An agent's calls as a node of a graph in this process: with its own keys, addresses and tools."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial

from partsong.agents.means import Means
from partsong.agents.toolset import ASKED, UNASKED, Agreed, Approve, Toolset
from partsong.contracts.errors import Problem
from partsong.contracts.events import CallCompleted, CallFailed
from partsong.contracts.state.tool_calls import with_edit
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.talk.messages import ToolCallPart
from partsong.contracts.wire.work import ChildWork, FunctionWork, HookWork, ToolWork, TurnWork, Work
from partsong.engine.local.engine import Result
from partsong.models.turn import take_turn
from partsong.runtime.event_head import event_head

__all__ = ["Performance"]


@dataclass(frozen=True, slots=True)
class Performance:
    """Makes an agent node's turns and tool calls. What the toolset forbids, or `approve` refuses, fails.

    Without `approve`, whoever decides the run's approvals is asked.
    """

    means: Means
    toolset: Toolset
    approve: Approve | None
    deadline: float | None = None
    """Seconds that `approve` has to decide."""

    def __call__(self, work: Work, emit: Callable[[Chunk], None]) -> Coroutine[None, None, Result]:
        """Make one call."""
        match work:
            case TurnWork():
                specs = (*self.toolset.specs, *work.inner)
                return take_turn(work, self.means.providers, specs, emit, vault=self.means.vault)
            case ToolWork():
                return self._tool(work, emit)
            case FunctionWork() | ChildWork() | HookWork():
                raise AssertionError(f"{work.node} is an agent")

    async def _tool(self, work: ToolWork, emit: Callable[[Chunk], None]) -> Result:
        args = work.args if isinstance(work.args, dict) else {}
        call = ToolCallPart(id=work.call_id, name=work.tool, args=args)
        if work.approved is not None:
            return await self.means.executor.called(work, emit)
        opened = partial(self.means.executor.opened, work)
        agreed = await self.toolset.agreed(call, self.approve, self.deadline, opened=opened)
        match agreed:
            case Agreed():
                work = work.model_copy(update={"approved": ASKED, "args": agreed.args})
            case Problem(code=code) if code == UNASKED:
                pass  # the run asks whoever decides its approvals
            case Problem():
                return CallFailed(error=agreed, **event_head(work, "closed", ""))
        result = await self.means.executor.called(work, emit)
        if isinstance(agreed, Agreed) and agreed.edit and isinstance(result, CallCompleted):
            content = with_edit(agreed.edit, result.content)
            return result.model_copy(update={"content": content})
        return result
