"""An agent's calls as a node of a graph in this process: with its own keys, addresses and tools."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from partsong.agents.means import Means
from partsong.agents.toolset import ASKED, UNASKED, Approve, Toolset
from partsong.contracts.events import CallFailed
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

    def __call__(self, work: Work, emit: Callable[[Chunk], None]) -> Coroutine[None, None, Result]:
        """Make one call."""
        match work:
            case TurnWork():
                specs = (*self.toolset.specs, *work.inner)
                return take_turn(work, self.means.providers, specs, emit)
            case ToolWork():
                return self._tool(work, emit)
            case FunctionWork() | ChildWork() | HookWork():
                raise AssertionError(f"{work.node} is an agent")

    async def _tool(self, work: ToolWork, emit: Callable[[Chunk], None]) -> Result:
        args = work.args if isinstance(work.args, dict) else {}
        call = ToolCallPart(id=work.call_id, name=work.tool, args=args)
        problem = None
        if work.approved is None:
            problem = await self.toolset.refusal(call, self.approve)
            if problem is not None and problem.code == UNASKED:
                problem = None  # the run asks whoever decides its approvals
            elif problem is None:
                work = work.model_copy(update={"approved": ASKED})
        if problem is None:
            return await self.means.executor.run(work, emit)
        return CallFailed(error=problem, **event_head(work, "closed", ""))
