"""What a finished call means for its execution: an update of the state, or the next lines of a conversation."""

from __future__ import annotations

import json

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import AgentNode, ApprovalNode, FunctionNode, ToolNode
from partsong.contracts.messages import AssistantMessage, Message, ToolMessage, UserMessage
from partsong.contracts.state import Call, Execution, RunState
from partsong.contracts.values import render

__all__ = ["since_last_turn", "update_of"]


def update_of(state: RunState, execution: Execution) -> dict[str, JsonValue]:
    """What a finished execution adds to the state."""
    node = state.graph.nodes[execution.node] if state.graph else None
    call = state.calls.get(
        execution.id if not isinstance(node, AgentNode) else f"{execution.id}/t{execution.turn}"
    )
    outcome = call.outcome if call else None
    match node, outcome:
        case FunctionNode(), e.CallCompleted(update=update):
            return dict(update or {})
        case ToolNode(), e.CallCompleted(content=content):
            return {node.output or execution.node: content}
        case AgentNode(), e.AgentTurnCompleted(message=message):
            return {node.output or execution.node: _answer(node, message)}
        case ApprovalNode(), e.ApprovalDecided(decision=decision, by=by, reason=reason):
            return {execution.node: {"decision": decision, "by": by, "reason": reason}}
        case ApprovalNode(), e.ApprovalExpired():
            return {execution.node: {"decision": node.otherwise, "by": "deadline", "reason": None}}
        case _:
            return {}


def _answer(node: AgentNode, message: AssistantMessage) -> JsonValue:
    if node.agent.output_schema is None:
        return message.text
    try:
        value: JsonValue = json.loads(message.text)
    except ValueError:
        return message.text
    return value


def since_last_turn(state: RunState, execution: Execution) -> tuple[Message, ...]:
    """What the conversation gains before a turn is asked for: the prompt, or the last answer and its tools' results."""
    node = state.graph.nodes[execution.node] if state.graph else None
    if execution.turn == 0:
        if not isinstance(node, AgentNode):
            return ()
        try:
            return (UserMessage(text=render(node.prompt, state.seen_by(execution.seen))),)
        except InvalidInput:
            return (UserMessage(text=node.prompt),)
    last = f"{execution.id}/t{execution.turn}"
    turn = state.calls.get(last)
    if turn is None or not isinstance(turn.outcome, e.AgentTurnCompleted):
        return ()
    answer = turn.outcome.message
    results = [
        _tool_result(state.calls.get(f"{last}/c{i}"), call.id, call.name)
        for i, call in enumerate(answer.tool_calls)
    ]
    return (answer, *results)


def _tool_result(call: Call | None, tool_call_id: str, name: str) -> ToolMessage:
    """One result per tool call, always: what it returned, or why it did not."""
    if call is not None and isinstance(call.outcome, e.CallCompleted):
        return ToolMessage(call_id=tool_call_id, name=name, content=call.outcome.content)
    problem = call.problem if call else None
    text = (
        f"{problem.code}: {problem.message}" if problem else "the outcome of this call is unknown"
    )
    return ToolMessage(call_id=tool_call_id, name=name, content=text, is_error=True)
