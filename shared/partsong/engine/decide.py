"""`decide(state, now)`: what happens next in a run. Pure; the same state and time give the same decision.

It works through the executions that something happened to (`state.due`), then fires what can fire in every scope, and
goes on until nothing more follows. All of it is one commit.
"""

from __future__ import annotations

from typing import assert_never

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.foreign.question import Evaluate, at_once
from partsong.contracts.graph import (
    AgentNode,
    ApprovalNode,
    FunctionNode,
    MapNode,
    SubgraphNode,
    ToolNode,
    TransformNode,
    WaitNode,
)
from partsong.contracts.persistent import chosen
from partsong.contracts.state.scope import Execution, Scope, scope_of
from partsong.contracts.state.state import RunState
from partsong.engine.calls import webhook
from partsong.engine.calls.calls import NO_RETRY, no_outcome, request_call, retried
from partsong.engine.calls.gates import passes
from partsong.engine.commands.runs import overdue
from partsong.engine.draft import Decision, Draft
from partsong.engine.meter import Meter
from partsong.engine.nodes import agent, inner, tool_calls, waits
from partsong.engine.nodes.approvals import approval
from partsong.engine.nodes.budget import spent_all
from partsong.engine.scheduling import flow, joins
from partsong.engine.scheduling.ending import end

__all__ = ["decide"]


def decide(
    state: RunState, now: str, *, park: bool = True, evaluate: Evaluate = at_once
) -> Decision:
    """All that follows from `state` at `now` (RFC 3339).

    With `park`, a call that no worker can make is offered again later; without, it has failed. `evaluate` answers what
    the graph's author wrote; if it has no answer yet, NotAnswered comes out of here, and the same is asked again later.
    What takes longer than a turn may is left to the next decision: a loop of transforms may go on for as many steps as
    its author likes, and beside an open branch each of them looks at all that the loop has written.
    """
    meter = Meter.of(evaluate)
    draft, more = Draft(state, now, park=park, evaluate=meter), False
    if state.newer is not None:  # a newer engine goes on with it
        return Decision((), (), state)
    if state.graph is not None and not state.ended:
        for event in overdue(state, now):
            draft.add(event)
        if state.status == "running" and not state.paused:
            more = _advance(draft, meter)
        if draft.state.stopping is not None and not draft.closings:
            end(draft)
    webhook.tell(draft, just_ended=not state.ended)
    return Decision(tuple(draft.events), tuple(draft.closings), draft.state, more)


def _advance(draft: Draft, meter: Meter) -> bool:
    """Go on as far as it goes; whether it went on for too long, so that the rest is left to the next decision."""
    _within_budget(draft)
    if not _begun(draft):
        return False
    idle: set[str] = set()
    while draft.state.stopping is None and not draft.closings:
        before = len(draft.events)
        if meter.full(before):
            return True
        exec_id = next((x for x in draft.state.due if x not in idle), None)
        if exec_id is not None:
            meter.looks_at(_unsettled(draft.state, exec_id))
            _progress(draft, exec_id)
            if len(draft.events) == before:
                idle.add(exec_id)
                continue
        elif not _fire(draft) and not _close(draft):
            break
        idle.clear()  # what nothing could be done for may be ripe now
    return False


def _unsettled(state: RunState, exec_id: str) -> int:
    """How much is unsettled and open around an execution."""
    scope = state.scopes.get(scope_of(exec_id))
    return 0 if scope is None else len(scope.active) + sum(map(len, scope.writes.values()))


def _begun(draft: Draft) -> bool:
    """Whether plugins let the run begin."""
    may = passes(draft, None, "", "before_run", draft.id("started"))
    if isinstance(may, Problem):
        draft.stop("failed", error=may)
    return may == "yes"


def _within_budget(draft: Draft) -> None:
    most, cost = draft.state.options.max_cost, draft.state.usage.cost
    if most is None or cost is None or cost < most or draft.state.stopping is not None:
        return
    spent_all(draft)


def _fire(draft: Draft) -> bool:
    """Fire what may in any scope; whether anything did."""
    fired = False
    for path, _ in chosen(draft.state.scopes, _holds_tokens):
        if _sound(draft.state, path) and joins.fire(draft, path):
            fired = True
        if draft.state.stopping is not None or draft.closings:
            break
    return fired


def _holds_tokens(scope: Scope) -> bool:
    return bool(scope.tokens)


def _over(scope: Scope) -> bool:
    return scope.problem is None and scope.quiet


def _sound(state: RunState, path: str) -> bool:
    """Whether neither a scope nor any around it has failed."""
    while path:
        scope = state.scopes.get(path)
        owner = state.execution(scope.exec) if scope is not None else None
        if scope is None or scope.problem is not None or owner is None or not owner.live:
            return False
        path = scope_of(scope.exec)
    return True


def _close(draft: Draft) -> bool:
    """End a scope in which nothing can happen any more; whether there was one."""
    for path, scope in chosen(draft.state.scopes, _over):
        if not _sound(draft.state, path):
            continue
        failed = _first_failed(scope)
        cause = _last_id(draft)
        if path:
            flow.close_scope(draft, scope, failed, cause)
        elif failed is not None:
            draft.stop("failed", error=failed, cause=cause)
        elif passes(draft, None, "", "after_run", cause, attempt=draft.state.round + 1) != "wait":
            id_ = draft.id("completed")
            draft.add(e.RunCompleted(id=id_, time=draft.now, cause=cause))
            return False
        else:
            return False
        return not draft.closings
    return False


def _first_failed(scope: Scope) -> Problem | None:
    """The first failure in graph order; executions that failed are all a quiet scope still has."""
    failed = sorted(scope.active.values(), key=lambda x: (scope.plan.position[x.node], x.visit))
    return failed[0].problem if failed else None


def _last_id(draft: Draft) -> str:
    return draft.events[-1].id if draft.events else draft.id("started")


def _admitted(draft: Draft, execution: Execution) -> bool:
    """Whether plugins let a node be visited."""
    scheduled = draft.id(execution.id, "scheduled")
    may = passes(draft, execution, execution.id, "before_node", scheduled)
    if isinstance(may, Problem):
        flow.fail(draft, execution, may, scheduled, handled=False)
    return may == "yes"


def _progress(draft: Draft, exec_id: str) -> None:
    """Take one execution a step further, if something is to be done for it now."""
    execution = draft.state.execution(exec_id)
    if execution is None or not execution.live or not _sound(draft.state, execution.scope):
        return
    scope = draft.state.scope(execution)
    node = scope.node(execution)
    if not _admitted(draft, execution):
        return
    problem = joins.unmet(scope, execution.node, execution.arrived)
    if problem is not None:
        flow.fail(draft, execution, problem, draft.id(execution.id, "scheduled"))
        return
    match node:
        case FunctionNode():
            _called(draft, execution, node)
        case ToolNode():
            tool_calls.tool_node(draft, execution, node)
        case AgentNode():
            agent.progress(draft, execution, node)
        case ApprovalNode():
            approval(draft, execution, node)
        case SubgraphNode():
            inner.subgraph(draft, execution, node)
        case MapNode():
            inner.each(draft, execution, node)
        case WaitNode():
            waits.wait(draft, execution, node)
        case TransformNode():
            waits.transform(draft, execution, node)
        case _:
            assert_never(node)


def _called(draft: Draft, execution: Execution, node: FunctionNode) -> None:
    call = draft.state.calls.get(execution.id)
    if call is None:
        cause = draft.id(execution.id, "scheduled")
        request_call(draft, execution, execution.id, "function", node.function, 1, cause)
    elif call.open or call.given_up:
        return
    elif isinstance(call.outcome, e.CallCompleted):
        done = call.outcome
        flow.complete(draft, execution, done.label, call.closed_by or "", goto=done.goto)
    else:
        match retried(draft, call, node.retry or NO_RETRY):
            case "now":
                attempt, cause = call.attempt + 1, call.closed_by or ""
                request_call(draft, execution, call.id, "function", node.function, attempt, cause)
            case "never":
                flow.fail(draft, execution, call.problem or no_outcome(call), call.closed_by or "")
            case "later":
                pass
