"""The hint for an open call: all a worker needs, computed from the state, never stored."""

from __future__ import annotations

from typing import assert_never

from partsong.contracts import events as e
from partsong.contracts.graph import AgentNode, ToolNode
from partsong.contracts.messages import ToolCallPart
from partsong.contracts.state import Call, RunState
from partsong.contracts.values import render_value
from partsong.contracts.work import FunctionWork, ToolWork, TurnWork, Work

__all__ = ["work_of"]


def work_of(state: RunState, call: Call) -> Work | None:
    """The hint for a call; None for what no worker does: approvals, closed calls."""
    execution = state.executions.get(call.exec)
    if execution is None or not call.open or state.graph is None:
        return None
    node = state.graph.nodes[execution.node]
    match call.kind:
        case "function":
            return FunctionWork(
                run_id=state.run_id,
                call_id=call.id,
                node=execution.node,
                attempt=call.attempt,
                timeout=node.timeout,
                function=call.name,
                state=state.seen_by(execution.seen),
            )
        case "tool":
            if isinstance(node, ToolNode):
                args = render_value(dict(node.args), state.seen_by(execution.seen))
            else:
                args = dict(_wanted(state, call).args)
            return ToolWork(
                run_id=state.run_id,
                call_id=call.id,
                node=execution.node,
                attempt=call.attempt,
                timeout=node.timeout if isinstance(node, ToolNode) else None,
                tool=call.name,
                args=args,
            )
        case "agent.turn":
            assert isinstance(node, AgentNode)  # noqa: S101
            return TurnWork(
                run_id=state.run_id,
                call_id=call.id,
                node=execution.node,
                attempt=call.attempt,
                timeout=node.timeout,
                agent=node.agent,
                messages=execution.messages,
            )
        case "approval":
            return None
        case _:
            assert_never(call.kind)


def _wanted(state: RunState, call: Call) -> ToolCallPart:
    """What the model asked for in the turn that a tool call belongs to."""
    turn_id, _, index = call.id.rpartition("/c")
    outcome = state.calls[turn_id].outcome
    assert isinstance(outcome, e.AgentTurnCompleted)  # noqa: S101
    return outcome.message.tool_calls[int(index)]
