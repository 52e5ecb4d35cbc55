"""`decide(state, now)`: what happens next in a run. Pure; the same state and time give the same decision.

It works through the executions that something happened to (`state.due`), then fires what can fire, and goes on until
nothing more follows. All of it is one commit.
"""

from __future__ import annotations

from typing import assert_never

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import AgentNode, ApprovalNode, FunctionNode, ToolNode
from partsong.contracts.state import Call, Execution, RunState
from partsong.contracts.values import render, render_value
from partsong.graph_engine.core import agent, flow
from partsong.graph_engine.core.calls import NO_RETRY, later, request_call, retried
from partsong.graph_engine.core.draft import Decision, Draft

__all__ = ["decide"]


def decide(state: RunState, now: str) -> Decision:
    """All that follows from `state` at `now` (RFC 3339)."""
    draft = Draft(state, now)
    if state.graph is not None and not state.ended:
        _advance(draft)
        if draft.state.stopping is not None and not draft.closings:
            _stop(draft)
    return Decision(tuple(draft.events), tuple(draft.closings), draft.state)


def _advance(draft: Draft) -> None:
    idle: set[str] = set()
    while draft.state.stopping is None:
        exec_id = next((x for x in draft.state.due if x not in idle), None)
        if exec_id is not None:
            before = len(draft.events)
            _progress(draft, draft.state.executions[exec_id])
            if len(draft.events) == before:
                idle.add(exec_id)
        elif not flow.fire(draft):
            break
    if draft.state.stopping is None and not draft.state.executions and not draft.state.tokens:
        draft.add(e.RunCompleted(id=draft.id("completed"), time=draft.now, cause=_last_id(draft)))


def _last_id(draft: Draft) -> str:
    return draft.events[-1].id if draft.events else draft.id("started")


def _progress(draft: Draft, execution: Execution) -> None:
    """Take one execution a step further, if something is to be done for it now."""
    assert draft.state.graph is not None  # noqa: S101
    node = draft.state.graph.nodes[execution.node]
    match node:
        case FunctionNode():
            _called(draft, execution, node, "function", node.function)
        case ToolNode():
            _called(draft, execution, node, "tool", node.tool)
        case AgentNode():
            agent.progress(draft, execution, node)
        case ApprovalNode():
            _approval(draft, execution, node)
        case _:
            assert_never(node)


def _called(
    draft: Draft, execution: Execution, node: FunctionNode | ToolNode, kind: e.CallKind, name: str
) -> None:
    call = draft.state.calls.get(execution.id)
    scheduled = draft.id(execution.id, "scheduled")
    if call is None:
        if isinstance(node, ToolNode) and (problem := _unrenderable(draft.state, execution, node)):
            flow.fail(draft, execution, problem, scheduled)
            return
        request_call(draft, execution, execution.id, kind, name, 1, scheduled)
    elif call.open:
        return
    elif isinstance(call.outcome, e.CallCompleted):
        flow.complete(draft, execution, call.outcome.label, call.closed_by or "")
    elif call.lapsed:
        agent.unknown_outcome(draft, execution, call)
    else:
        match retried(draft, call, node.retry or NO_RETRY):
            case "now":
                request_call(
                    draft, execution, call.id, kind, name, call.attempt + 1, call.closed_by or ""
                )
            case "never":
                flow.fail(draft, execution, call.problem or _no_outcome(call), call.closed_by or "")
            case "later":
                pass


def _no_outcome(call: Call) -> Problem:
    return Problem(
        code="call.no_outcome", message=f"{call.id} was closed without a result", fault="platform"
    )


def _unrenderable(state: RunState, execution: Execution, node: ToolNode) -> Problem | None:
    try:
        render_value(dict(node.args), state.seen_by(execution.seen))
    except InvalidInput as error:
        return error.problem
    return None


def _approval(draft: Draft, execution: Execution, node: ApprovalNode) -> None:
    call = draft.state.calls.get(execution.id)
    if call is None:
        _ask(draft, execution, node)
    elif call.open:
        if call.expired:
            expired = e.ApprovalExpired(
                id=draft.id(call.id, "expired"), time=draft.now, call_id=call.id
            )
            draft.close(call.id, expired)
    elif isinstance(call.outcome, e.ApprovalDecided | e.ApprovalExpired):
        decision = (
            call.outcome.decision if isinstance(call.outcome, e.ApprovalDecided) else node.otherwise
        )
        flow.complete(
            draft,
            execution,
            "approved" if decision == "approve" else "rejected",
            call.closed_by or "",
        )
    else:
        flow.fail(draft, execution, call.problem or _no_outcome(call), call.closed_by or "")


def _ask(draft: Draft, execution: Execution, node: ApprovalNode) -> None:
    view = draft.state.seen_by(execution.seen)
    cause = draft.id(execution.id, "scheduled")
    try:
        title, detail = render(node.title, view), render(node.detail, view)
    except InvalidInput as error:
        flow.fail(draft, execution, error.problem, cause)
        return
    deadline = later(draft.now, node.deadline) if node.deadline else None
    draft.add(
        e.ApprovalRequested(
            id=draft.id(execution.id, "requested"),
            time=draft.now,
            cause=cause,
            call_id=execution.id,
            exec=execution.id,
            title=title,
            detail=detail,
            context={key: view[key] for key in node.show if key in view},
            deadline=deadline,
            otherwise=node.otherwise,
        )
    )
    if deadline:
        timer_id = f"{execution.id}/deadline"
        draft.add(
            e.TimerSet(
                id=draft.id(timer_id, "set"),
                time=draft.now,
                cause=cause,
                timer_id=timer_id,
                at=deadline,
                purpose="approval_deadline",
                call_id=execution.id,
            )
        )


def _stop(draft: Draft) -> None:
    """End the run, once its guarded calls are closed."""
    stopping = draft.state.stopping
    assert stopping is not None  # noqa: S101
    reason = stopping.reason or (stopping.error.message if stopping.error else None)
    for call in draft.state.calls.values():
        if call.open and call.guarded:
            id_ = draft.id(call.id, call.attempt, "cancelled")
            draft.close(
                call.id, e.CallCancelled(id=id_, time=draft.now, call_id=call.id, reason=reason)
            )
    if draft.closings:
        return
    error = stopping.error or Problem(
        code=f"run.{stopping.outcome}", message=reason or "no reason given"
    )
    now, cause = draft.now, draft.id("stopping")
    match stopping.outcome:
        case "failed":
            draft.add(e.RunFailedEvent(id=draft.id("failed"), error=error, time=now, cause=cause))
        case "cancelled":
            draft.add(
                e.RunCancelled(
                    id=draft.id("cancelled"), reason=stopping.reason, time=now, cause=cause
                )
            )
        case "limit_exceeded":
            draft.add(
                e.RunLimitExceeded(
                    id=draft.id("limit_exceeded"), error=error, time=now, cause=cause
                )
            )
        case _:
            assert_never(stopping.outcome)
