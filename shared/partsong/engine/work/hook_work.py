"""What plugins are shown at a hook point, computed from the state."""

from __future__ import annotations

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import AgentNode, ApprovalNode
from partsong.contracts.graph.templates import render
from partsong.contracts.state.conversation import after_turn, begun, sums_up
from partsong.contracts.state.model_answers import answer_of
from partsong.contracts.state.node_results import updates_of
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import Call, RunState
from partsong.contracts.talk.hooks import HookPoint, PluginRef
from partsong.contracts.talk.messages import MESSAGE, Message, UserMessage
from partsong.contracts.wire.work import HookWork
from partsong.engine.nodes.compaction import transcript

__all__ = ["hook_work"]


def hook_work(state: RunState, call: Call, args: JsonValue, tool: str) -> HookWork:
    """The work of a hook call; `args` and `tool` are those of the tool call that it is about."""
    point = _point(call.name)
    subject = call.id.rpartition("/h.")[0]
    execution = state.execution(call.exec) if call.exec else None
    payload: dict[str, JsonValue] = {"run_id": state.run_id, "subject": subject}
    if execution is None:
        payload |= _of_run(state)
    else:
        payload |= {"node": execution.node, "type": state.node(execution).type}
        payload |= _of_execution(state, execution, call, subject, args, tool)
    return HookWork(
        run_id=state.run_id,
        call_id=call.id,
        node=execution.node if execution is not None else "run",
        attempt=call.attempt,
        point=point,
        plugins=_of_point(state, point),
        payload=payload,
    )


def _point(name: str) -> HookPoint:
    return name  # type: ignore[return-value]  # the engine has requested it


def _of_point(state: RunState, point: HookPoint) -> tuple[PluginRef, ...]:
    found = [plugin for plugin in state.plugins if point in plugin.points]
    return tuple(sorted(found, key=lambda plugin: (plugin.order, plugin.name)))


def _of_run(state: RunState) -> dict[str, JsonValue]:
    stopping = state.stopping
    return {
        "graph": state.graph.name if state.graph is not None else "",
        "state": state.values,
        "labels": dict(state.options.labels),
        "usage": state.usage.model_dump(mode="json"),
        "outcome": stopping.outcome if stopping is not None else "completed",
        "error": stopping.error.brief().model_dump(mode="json", exclude_none=True)
        if stopping is not None and stopping.error is not None
        else None,
    }


def _of_execution(  # noqa: PLR0911  # one return per point
    state: RunState,
    execution: Execution,
    call: Call,
    subject: str,
    args: JsonValue,
    tool: str,
) -> dict[str, JsonValue]:
    match _point(call.name):
        case "before_tool_call":
            return {"tool": tool, "args": args}
        case "after_tool_call":
            return {"tool": tool, "args": args, **_result(state, subject)}
        case "before_agent_call":
            node = state.node(execution)
            model = node.agent.model if isinstance(node, AgentNode) else ""
            return {"messages": _dumped(_messages(state, execution, subject)), "model": model}
        case "after_agent_call":
            return _answer(state, execution)
        case "before_node":
            return {"state": state.view(execution)}
        case "after_node":
            updates = updates_of(state, execution)
            merged = {key: value for update in updates for key, value in update.items()}
            return {"state": state.view(execution), "update": merged}
        case "on_approval":
            return _question(state, execution)
        case "on_error":
            error = call.about.model_dump(mode="json", exclude_none=True) if call.about else None
            return {"state": state.view(execution), "error": error}
        case "before_run" | "after_run":
            return _of_run(state)


def _result(state: RunState, subject: str) -> dict[str, JsonValue]:
    call = state.calls.get(subject)
    outcome = call.outcome if call is not None else None
    if isinstance(outcome, e.CallCompleted):
        return {"result": outcome.content}
    problem = call.problem if call is not None else None
    return {
        "error": problem.brief().model_dump(mode="json", exclude_none=True) if problem else None
    }


def _messages(state: RunState, execution: Execution, subject: str) -> tuple[Message, ...]:
    node = state.node(execution)
    if sums_up(subject):
        return (UserMessage(text=transcript(execution.messages)),)
    if execution.turn == 0 and isinstance(node, AgentNode):
        return begun(state, execution, node)[0]
    return after_turn(state, execution, None).messages


def _dumped(messages: tuple[Message, ...]) -> list[JsonValue]:
    return [MESSAGE.dump_python(message, mode="json") for message in messages]


def _answer(state: RunState, execution: Execution) -> dict[str, JsonValue]:
    turn = state.calls.get(f"{execution.id}/t{execution.turn}")
    answer = answer_of(state, turn) if turn is not None else None
    if answer is None:
        return {}
    return {
        "text": answer.message.text,
        "tool_calls": [
            {"name": call.name, "args": call.args} for call in answer.message.tool_calls
        ],
        "model": f"{answer.provider}:{answer.model}",
        "stop": answer.stop,
        "usage": answer.usage.model_dump(mode="json"),
        "spent": state.usage.model_dump(mode="json"),
    }


def _question(state: RunState, execution: Execution) -> dict[str, JsonValue]:
    node, view = state.node(execution), state.view(execution)
    if not isinstance(node, ApprovalNode):
        return {}
    try:
        title, detail = render(node.title, view), render(node.detail, view)
    except InvalidInput:
        return {}
    return {"question": {"title": title, "detail": detail}, "state": view}
