"""The hint for an open call: all a worker needs, computed from the state, never stored."""

from __future__ import annotations

from typing import assert_never

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.events import Parent, RunOptions
from partsong.contracts.graph import AgentNode, AgentSpec, Node, SubgraphNode, ToolNode
from partsong.contracts.graph.templates import render_value
from partsong.contracts.state.conversation import inner_tools, progress_of, sums_up
from partsong.contracts.state.hook_decisions import replaced, replacement
from partsong.contracts.state.node_results import begins_with
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import Call, RunState
from partsong.contracts.state.tool_calls import answer_to, edited, nested_in, refusal
from partsong.contracts.talk.hooks import hook_id
from partsong.contracts.talk.messages import MESSAGES, Message, ToolCallPart, UserMessage
from partsong.contracts.wire.work import (
    ChildWork,
    FunctionWork,
    Resume,
    ToolWork,
    TurnWork,
    Work,
    child_of_v0,
)
from partsong.engine.calls import webhook
from partsong.engine.calls.calls import no_outcome
from partsong.engine.nodes.compaction import summing_up, transcript
from partsong.engine.work.handed import handed
from partsong.engine.work.hook_work import hook_work

__all__ = ["work_of"]


def work_of(state: RunState, call: Call) -> Work | None:
    """The hint for a call; None for what no worker does: approvals, closed calls."""
    work = _work_of(state, call)
    return work.model_copy(update={"deaths": call.deaths}) if work and call.deaths else work


def _work_of(state: RunState, call: Call) -> Work | None:
    if not call.open or state.graph is None:
        return None
    if call.kind == "hook":
        return _hook(state, call)
    execution = state.execution(call.exec) if call.exec else None
    if execution is None:
        return _undo(state, call) if call.exec else webhook.work(state, call)
    match call.kind:
        case "function":
            node = state.node(execution)
            # Not checked, which would copy it all: by identity what is big is known to be what it was.
            return FunctionWork.model_construct(
                run_id=state.run_id,
                call_id=call.id,
                node=execution.node,
                attempt=call.attempt,
                timeout=node.timeout,
                idle_timeout=node.idle_timeout,
                function=call.name,
                state=handed(state, execution),
            )
        case "tool":
            return _tool(state, execution, call)
        case "agent.turn":
            return _turn(state, execution, call)
        case "run":
            return _child(state, execution, call)
        case "approval" | "hook":
            return None
        case _:
            assert_never(call.kind)


def _undo(state: RunState, call: Call) -> Work | None:
    undo = state.undone(call.exec)
    if undo is None:
        return None
    view = dict(undo.view)
    if state.stopping is not None and state.stopping.error is not None:
        view["error"] = state.stopping.error.brief().model_dump(mode="json", exclude_none=True)
    return FunctionWork(
        run_id=state.run_id,
        call_id=call.id,
        node=undo.exec.rpartition("/")[2].rpartition(":")[0],
        attempt=call.attempt,
        function=call.name,
        state=view,
    )


def _tool(state: RunState, execution: Execution, call: Call) -> ToolWork:
    node = state.node(execution)
    agent = node.agent if isinstance(node, AgentNode) else None
    return ToolWork(
        run_id=state.run_id,
        call_id=call.id,
        node=execution.node,
        attempt=call.attempt,
        timeout=node.timeout if isinstance(node, ToolNode) else None,
        tool=call.name,
        args=_args(state, execution, call),
        approved=call.approved,
        may=agent.may if agent is not None else None,
        asks=agent.asks if agent is not None else None,
        tools=_callable(node, call),
        sources=_sources(node),
        resume=_resume(state, call.resumes) if call.resumes is not None else None,
    )


def _args(state: RunState, execution: Execution, call: Call) -> JsonValue:
    node, outer = state.node(execution), nested_in(call.id)
    if outer is not None:
        paused = state.calls[outer].outcome
        assert isinstance(paused, e.CallSuspended)  # noqa: S101
        return edited(dict(paused.args), call.edit)
    if isinstance(node, ToolNode):
        args: JsonValue = render_value(dict(node.args), state.view(execution))
    else:
        args = dict(_wanted(state, call).args)
    return edited(replaced(state, call.id, "before_tool_call", args), call.edit)


def _hook(state: RunState, call: Call) -> Work | None:
    execution = state.execution(call.exec) if call.exec else None
    if call.exec and execution is None:
        return None
    args: JsonValue = None
    tool = ""
    if call.name in {"before_tool_call", "after_tool_call"} and execution is not None:
        about = call.id.rpartition("/h.")[0]
        tool = _tool_name(state, execution, about)
        made = state.calls.get(about) or Call(about, call.exec, "tool", tool)
        args = _args(state, execution, made)
    return hook_work(state, call, args, tool)


def _tool_name(state: RunState, execution: Execution, call_id: str) -> str:
    node, outer = state.node(execution), nested_in(call_id)
    if outer is not None:
        paused = state.calls[outer].outcome
        return paused.tool if isinstance(paused, e.CallSuspended) else ""
    if isinstance(node, ToolNode):
        return node.tool
    return _wanted(state, Call(call_id, execution.id, "tool", "")).name


def _callable(node: Node, call: Call) -> tuple[str, ...]:
    """What code may call that a tool runs; code of code, nothing."""
    if nested_in(call.id) is not None:
        return ()
    match node:
        case ToolNode(tools=tools) | AgentNode(agent=AgentSpec(tools=tools)):
            return tuple(name for name in tools if name != call.name)
        case _:
            return ()


def _sources(node: Node) -> dict[str, str]:
    match node:
        case ToolNode(sources=sources) | AgentNode(agent=AgentSpec(sources=sources)):
            return dict(sources)
        case _:
            return {}


def _resume(state: RunState, paused: e.CallSuspended) -> Resume:
    answer = state.calls[answer_to(paused)]
    if isinstance(answer.outcome, e.CallCompleted):
        return Resume(snapshot=paused.snapshot, result=answer.outcome.content)
    problem = refusal(state, answer) or answer.problem or no_outcome(answer)
    return Resume(snapshot=paused.snapshot, error=f"{problem.code}: {problem.message}")


def _turn(state: RunState, execution: Execution, call: Call) -> TurnWork:
    node = state.node(execution)
    assert isinstance(node, AgentNode)  # noqa: S101
    summing = sums_up(call.id)
    told = transcript(execution.messages)
    return TurnWork(
        run_id=state.run_id,
        call_id=call.id,
        node=execution.node,
        attempt=call.attempt,
        timeout=node.timeout,
        idle_timeout=node.idle_timeout,
        agent=summing_up(call.name)
        if summing
        else node.agent.model_copy(update={"model": call.name}),
        messages=_seen(state, call, (UserMessage(text=told),) if summing else execution.messages),
        inner=() if summing else inner_tools(node),
        allowance=call.allowance,
        progress=progress_of(execution),
    )


def _seen(state: RunState, call: Call, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages as plugins have left them, and what has come behind those that they were shown."""
    hook = state.calls.get(hook_id(call.id, "before_agent_call"))
    outcome = hook.outcome if hook is not None else None
    fresh = replacement(outcome.outcome) if isinstance(outcome, e.HookDecided) else None
    if fresh is None or not isinstance(outcome, e.HookDecided):
        return messages
    return (*MESSAGES.validate_python(fresh.value), *messages[outcome.seen :])


def _child(state: RunState, execution: Execution, call: Call) -> ChildWork:
    node = state.node(execution)
    assert isinstance(node, SubgraphNode)  # noqa: S101
    parent = Parent(run_id=state.run_id, call_id=call.id, attempt=call.attempt)
    return ChildWork(
        run_id=state.run_id,
        call_id=call.id,
        node=execution.node,
        attempt=call.attempt,
        graph=node.graph.spec(),
        input=begins_with(state, execution, 0),
        options=RunOptions(parent=parent, labels=state.options.labels),
        child=call.child or child_of_v0(parent),
    )


def _wanted(state: RunState, call: Call) -> ToolCallPart:
    """What the model asked for in the turn that a tool call belongs to."""
    turn_id, _, index = call.id.rpartition("/c")
    outcome = state.calls[turn_id].outcome
    assert isinstance(outcome, e.AgentTurnCompleted)  # noqa: S101
    return outcome.message.tool_calls[int(index)]
