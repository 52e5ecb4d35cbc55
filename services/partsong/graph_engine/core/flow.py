"""Which nodes fire, and where finished ones lead: the dataflow of a graph.

A node starts as soon as it can; nothing waits for a slow sibling. A node with several inbound edges is a join: it
holds its tokens until nothing can still reach it, then fires once with all of them. Exactly, with R(u) the nodes
reachable from u over one or more edges: a token-holding node x fires when

(1) no active node u (scheduled or running, x itself included) has x in R(u), and
(2) no other token-holding node y has x in R(y), unless x also reaches y (they share a cycle) and x comes first in
    graph order;

after each firing the question is asked again. One rule covers parallel joins, uneven branches, skipped branches and
loops, and what fires never depends on timing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import ApprovalNode
from partsong.contracts.outcomes import update_of
from partsong.contracts.plan import Plan
from partsong.contracts.state import Execution, RunState
from partsong.contracts.values import reduce
from partsong.graph_engine.core.draft import Draft

__all__ = ["complete", "fail", "fire"]


def fire(draft: Draft) -> bool:
    """Fire every node that may; whether any did."""
    fired = False
    plan = draft.state.plan
    busy = _bits(plan, {execution.node for execution in draft.state.executions.values()})
    for node in _ready(draft.state, plan, busy):
        if busy >> plan.position[node] & 1:
            continue
        if not _schedule(draft, node):
            return True
        busy |= plan.reach[node]
        fired = True
    return fired


def _bits(plan: Plan, nodes: set[str]) -> int:
    reached = 0
    for node in nodes:
        reached |= plan.reach[node]
    return reached


def _ready(state: RunState, plan: Plan, busy: int) -> list[str]:
    """Token-holding nodes for which both clauses hold now, in graph order.

    Firing one of them cannot make clause 2 false for another; clause 1 is asked again by the caller. The union of
    what *all others* reach comes from two running unions, so a fan-out of n costs n, not n².
    """
    holders = sorted(state.tokens, key=plan.position.__getitem__)
    after = [0]
    for node in reversed(holders):
        after.append(after[-1] | plan.reach[node])
    before, ready = 0, []
    for i, node in enumerate(holders):
        others = before | after[len(holders) - 1 - i]
        place = plan.position[node]
        if not busy >> place & 1 and (
            not others >> place & 1 or _first_in_its_cycles(plan, node, holders)
        ):
            ready.append(node)
        before |= plan.reach[node]
    return ready


def _first_in_its_cycles(plan: Plan, node: str, holders: Sequence[str]) -> bool:
    return all(
        plan.reaches(node, other) and plan.position[node] < plan.position[other]
        for other in holders
        if other != node and plan.reaches(other, node)
    )


def _schedule(draft: Draft, node: str) -> bool:
    """Schedule one visit; False if a limit ends the run instead."""
    state = draft.state
    assert state.graph is not None  # noqa: S101
    visit = state.visits.get(node, 0) + 1
    most = state.graph.nodes[node].max_visits
    if most is not None and visit > most:
        return _limit(
            draft,
            "max_visits",
            f"node {node} was to be entered for the {visit}. time, max_visits is {most}",
            node,
        )
    if state.steps >= state.options.max_steps:
        return _limit(
            draft,
            "max_steps",
            f"{state.steps} nodes have run, max_steps is {state.options.max_steps}",
            node,
        )
    tokens = state.tokens[node]
    exec_id = f"{node}:{visit}"
    draft.add(
        e.NodeScheduled(
            id=draft.id(exec_id, "scheduled"),
            time=draft.now,
            cause=draft.id(tokens[-1].source, "completed")
            if tokens[-1].source != "START"
            else draft.id("started"),
            exec=exec_id,
            node=node,
            visit=visit,
            depth=1 + max(token.depth for token in tokens),
            sources=tuple(token.source for token in tokens),
        )
    )
    return True


def _limit(draft: Draft, limit: str, message: str, node: str) -> bool:
    problem = Problem(
        code=f"run.{limit}",
        message=message,
        where=f"nodes.{node}",
        fix=f"raise {limit}, or let the loop end earlier",
    )
    draft.stop("limit_exceeded", error=problem)
    return False


def complete(draft: Draft, execution: Execution, label: str | None, cause: str) -> None:
    """End an execution well: check its update, choose its edges."""
    try:
        _check_update(draft.state, execution)
        edges = tuple(_route(draft.state, execution, label))
    except _Conflict as conflict:
        draft.stop("failed", error=conflict.problem, cause=cause)
        return
    except InvalidInput as error:
        _end(draft, execution, error.problem, cause)
        return
    draft.add(
        e.NodeCompleted(
            id=draft.id(execution.id, "completed"),
            time=draft.now,
            cause=cause,
            exec=execution.id,
            label=label,
            edges=edges,
        )
    )


def fail(draft: Draft, execution: Execution, problem: Problem, cause: str) -> None:
    """End an execution badly: along its failure edges, or the run fails."""
    plan = draft.state.plan
    edges = tuple(i for i in plan.outgoing[execution.node] if plan.graph.edges[i].on == "failure")
    if not edges:
        _end(draft, execution, problem, cause)
        return
    draft.add(
        e.NodeFailed(
            id=draft.id(execution.id, "failed"),
            time=draft.now,
            cause=cause,
            exec=execution.id,
            error=problem,
            edges=edges,
        )
    )


def _end(draft: Draft, execution: Execution, problem: Problem, cause: str) -> None:
    if not (problem.where or "").startswith(f"nodes.{execution.node}"):
        problem = problem.model_copy(
            update={
                "where": f"nodes.{execution.node}"
                + (f" ({problem.where})" if problem.where else "")
            }
        )
    failed = draft.id(execution.id, "failed")
    draft.add(
        e.NodeFailed(id=failed, time=draft.now, cause=cause, exec=execution.id, error=problem)
    )
    draft.stop("failed", error=problem, cause=failed)


class _Conflict(InvalidInput):
    """Two concurrent executions wrote different values to one `replace` key."""


def _check_update(state: RunState, execution: Execution) -> None:
    """The update fits the reducers, and contradicts nothing that ran beside it."""
    update = update_of(state, execution)
    view = (
        state.seen_by(execution.seen)
        if any(state.reducer(key) != "replace" for key in update)
        else {}
    )
    for key, value in update.items():
        reducer = state.reducer(key)
        if reducer != "replace":
            reduce(reducer, key, key in view, view.get(key), value)
            continue
        for write in state.writes.get(key, ()):
            if write.exec not in execution.seen and write.value != value:
                raise _Conflict(
                    "state.conflict",
                    f"{write.exec} and {execution.id} ran beside each other and wrote different values to {key!r}: "
                    f"{write.value!r:.60} and {value!r:.60}",
                    where=f"state.{key}",
                    fix=f"give {key} a reducer, write two keys, or put one node behind the other",
                )


def _route(state: RunState, execution: Execution, label: str | None) -> Iterator[int]:
    """The edges a finished execution takes: those without a label, and those for its outcome."""
    plan = state.plan
    edges = plan.graph.edges
    labels = plan.labels[execution.node]
    outcome = label if label is not None else "success"
    taken = [i for i in plan.outgoing[execution.node] if edges[i].on in {None, outcome}]
    node = plan.graph.nodes[execution.node]
    if isinstance(node, ApprovalNode):
        if outcome == "rejected" and "rejected" not in labels:
            raise _rejected(state, execution)
    elif label is not None and label not in labels:
        raise InvalidInput(
            "node.unknown_route",
            f"{execution.id} took the route {label!r}, and no edge is for it "
            f"(there are: {', '.join(sorted(labels)) or 'none'})",
            where=f"nodes.{execution.node}",
            fix=f"add an edge for {label!r}, or return one of the labels that have one",
        )
    elif label is None and labels - {"failure"} and not taken:
        raise InvalidInput(
            "node.no_route",
            f"{execution.id} returned no route, and all its edges are for one: {', '.join(sorted(labels))}",
            where=f"nodes.{execution.node}",
            fix="return Route(label, update), or add a plain edge",
        )
    yield from taken


def _rejected(state: RunState, execution: Execution) -> InvalidInput:
    update = update_of(state, execution).get(execution.node)
    by, reason = (
        (update.get("by"), update.get("reason")) if isinstance(update, dict) else (None, None)
    )
    return InvalidInput(
        "approval.rejected",
        f"{execution.id} was rejected by {by}: {reason or 'no reason given'}",
        where=f"nodes.{execution.node}",
        fix="add an edge for the outcome rejected if the run should go on",
    )
