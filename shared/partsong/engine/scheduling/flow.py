"""Where finished executions lead: along which edges, or to the end of what they belong to."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import AgentNode, ApprovalNode
from partsong.contracts.graph.conform import check_state
from partsong.contracts.graph.expressions import holds
from partsong.contracts.graph.reducers import meant, reduce
from partsong.contracts.state.hook_decisions import error_left
from partsong.contracts.state.node_results import updates_of
from partsong.contracts.state.scope import Execution, Scope
from partsong.engine.calls.gates import passes
from partsong.engine.draft import Draft
from partsong.engine.scheduling.ending import quiesce

__all__ = ["close_scope", "complete", "fail"]


def complete(
    draft: Draft,
    execution: Execution,
    label: str | None,
    cause: str,
    *,
    goto: tuple[str, ...] = (),
    computed: dict[str, JsonValue] | None = None,
    signal: str | None = None,
    key: str | None = None,
) -> None:
    """End an execution well: check its update, choose its edges."""
    may = passes(draft, execution, execution.id, "after_node", cause)
    if isinstance(may, Problem):
        fail(draft, execution, may, cause)
    if may != "yes":
        return
    state = draft.state
    scope = state.scope(execution)
    updates = updates_of(state, execution, computed, signal, key)
    try:
        after = _checked(draft, scope, execution, updates)
        edges = _route(draft, scope, execution, label, goto, after)
    except InvalidInput as error:
        fail(draft, execution, error.problem, cause, handled=False)
        return
    draft.add(
        e.NodeCompleted(
            id=draft.id(execution.id, "completed"),
            time=draft.now,
            cause=cause,
            exec=execution.id,
            label=label,
            edges=tuple(edges),
            update=computed,
            signal=signal,
            signal_key=key,
        )
    )


def fail(
    draft: Draft, execution: Execution, problem: Problem, cause: str, *, handled: bool = True
) -> None:
    """End an execution badly: along its failure edges, or what it belongs to fails with it.

    Not `handled` are errors of the graph itself, which no failure edge is for.
    """
    if passes(draft, execution, execution.id, "on_error", cause, about=problem) == "wait":
        return
    problem = error_left(draft.state, execution.id, problem)
    scope = draft.state.scope(execution)
    plan = scope.plan
    failure = tuple(i for i in plan.outgoing[execution.node] if plan.graph.edges[i].on == "failure")
    edges = failure if handled else ()
    if edges and not quiesce(draft, [execution.id], problem.message):
        return
    if not edges:
        problem = _placed(problem, scope, execution)
    failed = draft.id(*draft.rounds(execution.id), "failed")
    draft.add(
        e.NodeFailed(
            id=failed,
            time=draft.now,
            cause=cause,
            exec=execution.id,
            error=problem.brief() if edges else problem,  # what goes on has it in its state
            edges=edges,
        )
    )
    if edges or scope.graph.on_failure == "continue":
        return
    if scope.path:
        close_scope(draft, scope, problem, failed)
    else:
        draft.stop("failed", error=problem, cause=failed)


def _placed(problem: Problem, scope: Scope, execution: Execution) -> Problem:
    """The problem with the node it happened at."""
    outer = "".join(
        f"nodes.{part.rpartition(':')[0]}." for part in scope.path.split("/") if ":" in part
    )
    place = f"{outer}nodes.{execution.node}"
    where = problem.where or ""
    if where.startswith(place):
        return problem
    if where.startswith(f"nodes.{execution.node}"):
        return problem.model_copy(update={"where": f"{outer}{where}"})
    return problem.model_copy(update={"where": place + (f" ({where})" if where else "")})


def close_scope(draft: Draft, scope: Scope, error: Problem | None, cause: str) -> None:
    """An inner scope has ended; its execution is looked at next."""
    if error is not None and not quiesce(draft, list(scope.active), error.message):
        return
    closed = draft.rounds(scope.path, "closed") if error else (scope.path, "closed")
    draft.add(
        e.ScopeClosed(
            id=draft.id(*closed), time=draft.now, cause=cause, scope=scope.path, error=error
        )
    )


def _checked(
    draft: Draft, scope: Scope, execution: Execution, updates: tuple[Mapping[str, JsonValue], ...]
) -> dict[str, JsonValue]:
    """The state after the updates; they fit the reducers and the schema, and contradict nothing that ran beside them.

    Raises:
        InvalidInput: `state.reducer`, `state.invalid`, `state.conflict`.
    """
    view = scope.view(execution)
    changed: dict[str, JsonValue] = {}
    for update in updates:
        for key, value in update.items():
            reducer = scope.reducer(key)
            view[key] = reduce(reducer, key, key in view, view.get(key), value)
            changed[key] = view[key]
            if reducer == "replace":
                _no_conflict(scope, execution, key, value)
    check_state(scope.graph.state_schema, changed, draft.evaluate)
    return view


def _no_conflict(scope: Scope, execution: Execution, key: str, value: JsonValue) -> None:
    wanted = meant(value)
    for write in scope.writes.get(key, ()):
        if write.exec in execution.seen or write.exec == execution.id:
            continue
        there = meant(write.value)
        if there != wanted:
            raise InvalidInput(
                "state.conflict",
                f"{write.exec} and {execution.id} ran beside each other and wrote different values to {key!r}: "
                f"{there!r:.60} and {wanted!r:.60}",
                where=f"state.{key}",
                fix=f"give {key} a reducer, write two keys, or put one node behind the other",
            )


def _route(
    draft: Draft,
    scope: Scope,
    execution: Execution,
    label: str | None,
    goto: tuple[str, ...],
    view: Mapping[str, JsonValue],
) -> list[int]:
    """The edges a finished execution takes, in order.

    Plain ones, those for its outcome, the first whose condition holds or the `else` edge, and those it names itself.
    """
    plan = scope.plan
    edges = plan.graph.edges
    outcome = label if label is not None else "success"
    taken = [i for i in plan.outgoing[execution.node] if edges[i].plain or edges[i].on == outcome]
    _known_route(scope, execution, label, taken, goto)
    if conditions := plan.conditions[execution.node]:
        taken.append(_first_true(draft, scope, execution, conditions, view))
    for target in goto:
        named = [
            i for i in plan.outgoing[execution.node] if edges[i].goto and edges[i].to == target
        ]
        if not named:
            allowed = [edges[i].to for i in plan.outgoing[execution.node] if edges[i].goto]
            raise InvalidInput(
                "node.unknown_route",
                f"{execution.id} went to {target!r}, which is not declared "
                f"(it may go to: {', '.join(allowed) or 'nowhere'})",
                where=f"nodes.{execution.node}",
                fix=f"declare it: add_goto({execution.node!r}, [{target!r}])",
            )
        taken += named
    return taken


def _first_true(
    draft: Draft,
    scope: Scope,
    execution: Execution,
    conditions: tuple[int, ...],
    view: Mapping[str, JsonValue],
) -> int:
    edges = scope.graph.edges
    for i in conditions:
        when = edges[i].when
        if when is None or holds(when, view, evaluate=draft.evaluate):
            return i
    tried = ", ".join(repr(edges[i].when) for i in conditions)
    raise InvalidInput(
        "node.no_route",
        f"none of the conditions behind {execution.id} holds: {tried}",
        where=f"nodes.{execution.node}",
        fix="add an `else` edge",
    )


def _known_route(
    scope: Scope,
    execution: Execution,
    label: str | None,
    taken: list[int],
    goto: tuple[str, ...],
) -> None:
    labels = scope.plan.labels[execution.node]
    if isinstance(scope.graph.nodes[execution.node], ApprovalNode):
        return  # `approved` needs no edge of its own
    if label is not None and label not in labels:
        raise InvalidInput(
            "node.unknown_route",
            f"{execution.id} took the route {label!r}, and no edge is for it "
            f"(there are: {', '.join(sorted(labels)) or 'none'})",
            where=f"nodes.{execution.node}",
            fix=f"add an edge for {label!r}, or return one of the labels that have one",
        )
    conditional = bool(scope.plan.conditions[execution.node])
    node = scope.graph.nodes[execution.node]
    if isinstance(node, AgentNode):
        labels = labels - node.agent.handoffs.keys()  # an agent need not hand over
    if label is None and labels - {"failure"} and not taken and not goto and not conditional:
        raise InvalidInput(
            "node.no_route",
            f"{execution.id} returned no route, and all its edges are for one: {', '.join(sorted(labels))}",
            where=f"nodes.{execution.node}",
            fix="return Route(label, update), or add a plain edge",
        )
