"""Subgraphs and maps: scopes are opened, their results collected, their failures answered."""

from __future__ import annotations

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.frozen import replace
from partsong.contracts.graph import MapNode, SubgraphNode
from partsong.contracts.state.node_results import begins_with, items_of
from partsong.contracts.state.scope import Execution
from partsong.engine.calls.calls import NO_RETRY, request_call, retried
from partsong.engine.draft import Draft
from partsong.engine.scheduling import flow

__all__ = ["MOST_ITEMS", "each", "subgraph"]

MOST_ITEMS = 10_000
"""Items of one map: all that may run at a time are opened in one step."""


def subgraph(draft: Draft, execution: Execution, node: SubgraphNode) -> None:
    """Open the inner graph, or end with what it gave."""
    if node.detached:
        _detached(draft, execution, node)
    elif 0 in execution.results:
        flow.complete(draft, execution, None, draft.id(execution.id, "closed"))
    elif execution.broken:
        _broken(draft, execution)
    elif execution.id not in draft.state.scopes:
        _open(draft, execution, execution.id, 0)


def each(draft: Draft, execution: Execution, node: MapNode) -> None:
    """Open as many items as may run at a time; end when all have ended."""
    try:
        count = len(items_of(node, draft.state.view(execution)))
    except InvalidInput as error:
        flow.fail(draft, execution, error.problem, draft.id(execution.id, "scheduled"))
        return
    if count > MOST_ITEMS and not execution.opened:
        flow.fail(draft, execution, _too_many(node, count), draft.id(execution.id, "scheduled"))
        return
    if execution.broken and node.on_item_error == "fail_fast":
        _broken(draft, execution)
        return
    done = len(execution.results) + len(execution.broken)
    running = execution.opened - done
    while execution.opened < count and (
        node.max_concurrency is None or running < node.max_concurrency
    ):
        if not _open(draft, execution, f"{execution.id}/{execution.opened}", execution.opened):
            return
        running += 1
        execution = replace(execution, opened=execution.opened + 1)
    if done < count:
        return
    if execution.broken:
        _broken(draft, execution)
    else:
        flow.complete(draft, execution, None, draft.id(execution.id, "scheduled"))


def _too_many(node: MapNode, count: int) -> Problem:
    return Problem(
        code="map.too_many_items",
        message=f"{node.over} has {count} items, a map goes over {MOST_ITEMS} at most",
        where=node.over,
        fix="hand several to each item, or go over the list in parts",
    )


def _open(draft: Draft, execution: Execution, path: str, index: int) -> bool:
    scheduled = draft.id(execution.id, "scheduled")
    try:
        begins_with(draft.state, execution, index)
    except InvalidInput as error:
        flow.fail(draft, execution, error.problem, scheduled)
        return False
    opened = draft.id(path, "opened")
    draft.add(
        e.ScopeOpened(
            id=opened, time=draft.now, cause=scheduled, scope=path, exec=execution.id, index=index
        )
    )
    return True


def _broken(draft: Draft, execution: Execution) -> None:
    index, problem = min(execution.broken.items(), key=lambda found: found[0])
    more = len(execution.broken) - 1
    if more:
        said = f"{problem.message} (item {index}; {more} more failed)"
        problem = problem.model_copy(update={"message": said})
    flow.fail(draft, execution, problem, draft.id(execution.id, "scheduled"))


def _detached(draft: Draft, execution: Execution, node: SubgraphNode) -> None:
    call = draft.state.calls.get(execution.id)
    scheduled = draft.id(execution.id, "scheduled")
    if call is None:
        try:
            begins_with(draft.state, execution, 0)
        except InvalidInput as error:
            flow.fail(draft, execution, error.problem, scheduled)
            return
        request_call(draft, execution, execution.id, "run", node.graph.name, 1, scheduled)
    elif call.open:
        return
    elif isinstance(call.outcome, e.ChildEnded) and call.outcome.status == "completed":
        flow.complete(draft, execution, None, call.closed_by or "")
    elif call.again:
        request_call(
            draft, execution, call.id, "run", call.name, call.attempt + 1, call.closed_by or ""
        )
    else:
        _child_failed(draft, execution, node, scheduled)


def _child_failed(draft: Draft, execution: Execution, node: SubgraphNode, cause: str) -> None:
    call = draft.state.calls[execution.id]
    ended = call.outcome
    problem = (ended.error if isinstance(ended, e.ChildEnded) else call.problem) or Problem(
        code="run.child_ended", message=f"{call.name} did not complete"
    )
    match retried(draft, replace(call, problem=problem), node.retry or NO_RETRY):
        case "now":
            request_call(
                draft, execution, call.id, "run", call.name, call.attempt + 1, call.closed_by or ""
            )
        case "never":
            flow.fail(draft, execution, problem, call.closed_by or cause)
        case "later":
            pass
