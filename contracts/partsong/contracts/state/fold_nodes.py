"""What events of nodes and scopes mean for a run's state."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput
from partsong.contracts.frozen import replace
from partsong.contracts.graph import END, AgentNode, MapNode, WaitNode
from partsong.contracts.graph.reducers import Write
from partsong.contracts.persistent import pruned, put, without
from partsong.contracts.state.compact_writes import settle
from partsong.contracts.state.fold_calls import with_due, with_execution
from partsong.contracts.state.node_results import begins_with, result_of, updates_of
from partsong.contracts.state.scope import Execution, Scope, Token, scope_of
from partsong.contracts.state.serialization import inner_graph
from partsong.contracts.state.state import RunState, Undo, line_of

__all__ = [
    "node_cancelled",
    "node_compensated",
    "node_ended",
    "node_scheduled",
    "scope_closed",
    "scope_opened",
]


def node_scheduled(state: RunState, event: e.NodeScheduled) -> RunState:
    """A node takes its tokens and begins."""
    scope = state.scopes.get(scope_of(event.exec))
    if (
        scope is None
        or event.node not in scope.graph.nodes
        or event.visit <= scope.visits.get(event.node, 0)
    ):
        return state
    waiting = scope.tokens.get(event.node, ())
    taken = [token for token in waiting if token.source in event.sources]
    left = tuple(token for token in waiting if token.source not in event.sources)
    tokens = without(scope.tokens, event.node)
    execution = Execution(
        event.exec,
        event.node,
        event.visit,
        event.depth,
        frozenset[str]().union(*(token.seen for token in taken)),
        event.time,
        after=_after(scope, event, taken),
        private=_told(scope, taken),
        arrived=len(taken),
        held=tuple(taken) if len(taken) < scope.needs(event.node) else (),
    )
    scope = replace(
        scope,
        active=put(scope.active, event.exec, execution),
        visits=put(scope.visits, event.node, event.visit),
        tokens=put(tokens, event.node, left) if left else tokens,
    )
    return replace(
        state,
        scopes=put(state.scopes, scope.path, scope),
        due=put(state.due, event.exec, None),
        steps=state.steps + 1,
        updated=event.time,
    )


def _told(scope: Scope, taken: list[Token]) -> dict[str, JsonValue]:
    """What only this visit sees; of several values for a key the one that updates would leave, whoever came first."""

    def order(token: Token) -> tuple[int, int, str]:
        node = token.source.rpartition("/")[2].rpartition(":")[0]
        return token.depth, scope.plan.position.get(node, -1), token.source

    private: dict[str, JsonValue] = {}
    for token in sorted((token for token in taken if token.private), key=order):
        private.update(token.private)
    return private


def _after(scope: Scope, event: e.NodeScheduled, taken: list[Token]) -> frozenset[str]:
    early = scope.plan.early
    if not early:
        return frozenset()
    after = frozenset[str]().union(*(token.after for token in taken))
    if event.node in early:
        older = {scope.name(event.node, visit) for visit in range(1, event.visit)}
        after = (after - older) | {event.exec}
    return after


def node_ended(state: RunState, event: e.NodeCompleted | e.NodeFailed) -> RunState:
    """An execution's update counts and its tokens go on; one that failed with nowhere to go stays as it is."""
    execution = state.execution(event.exec)
    if execution is None:
        return state
    if isinstance(event, e.NodeFailed) and not event.edges:
        failed = replace(execution, problem=event.error)
        state = replace(state, due=without(state.due, execution.id), updated=event.time)
        return with_execution(state, failed)
    scope = state.scope(execution)
    writes: Mapping[str, tuple[Write, ...]] = scope.writes
    mark = execution.seen
    private: Mapping[str, JsonValue]
    if isinstance(event, e.NodeFailed):
        error = {
            "node": execution.node,
            **event.error.brief().model_dump(mode="json", exclude_none=True),
        }
        private = {"error": error}
    else:
        updates = updates_of(state, execution, event.update, event.signal, event.signal_key)
        private = _private(state, execution)
        if any(updates):
            mark |= {execution.id}
            writes = _written(scope, execution, updates)
    tokens = scope.tokens
    for index in event.edges:
        target = scope.graph.edges[index].to if index < len(scope.graph.edges) else END
        if target != END and not scope.late(target, execution.after):
            token = Token(execution.id, execution.depth, mark, execution.after, private)
            tokens = put(tokens, target, (*tokens.get(target, ()), token))
    active = without(scope.active, execution.id)
    after = replace(scope, writes=writes, tokens=tokens, active=active)
    if isinstance(event, e.NodeCompleted):
        state = _remembered(state, scope, after, execution, mark)
        state = _taken(state, execution, event)
    state = _without(state, execution.id)
    scopes = put(state.scopes, scope.path, settle(after))
    return replace(state, scopes=scopes, updated=event.time)


def _private(state: RunState, execution: Execution) -> Mapping[str, JsonValue]:
    call = state.calls.get(execution.id)
    outcome = call.outcome if call else None
    return (outcome.private if isinstance(outcome, e.CallCompleted) else None) or {}


def _written(
    scope: Scope, execution: Execution, updates: tuple[Mapping[str, JsonValue], ...]
) -> dict[str, tuple[Write, ...]]:
    writes = dict(scope.writes)
    position = scope.plan.position[execution.node]
    for item, update in enumerate(updates):
        for key, value in update.items():
            line = list(writes.get(key, ()))
            write = Write(execution.depth, position, item, execution.id, value)
            insort(line, write, key=lambda w: w.key)
            writes[key] = tuple(line)
    return writes


def _remembered(
    state: RunState,
    scope: Scope,
    after: Scope,
    execution: Execution,
    mark: frozenset[str],
) -> RunState:
    """What outlives a completed execution beside its writes: how to undo it."""
    function = scope.graph.nodes[execution.node].compensate
    if function is not None:
        state = replace(
            state, undo=(*state.undo, Undo(execution.id, function, after.seen_by(mark)))
        )
    return state


def _taken(state: RunState, execution: Execution, event: e.NodeCompleted) -> RunState:
    node = state.node(execution)
    if event.signal is None or not isinstance(node, WaitNode):
        return state
    place = line_of(node.signal or "", event.signal_key)
    left = tuple(one for one in state.signals.get(place, ()) if one.id != event.signal)
    lines = put(state.signals, place, left) if left else without(state.signals, place)
    return replace(state, signals=lines)


def _without(state: RunState, exec_id: str) -> RunState:
    """The state without an execution's calls, timers and inner scopes; the execution itself is the caller's.

    The id of whatever belongs to an execution leads on from the execution's, so nobody looks through all there is.
    """
    return replace(
        state,
        calls=pruned(state.calls, exec_id),
        timers=pruned(state.timers, exec_id),
        scopes=pruned(state.scopes, exec_id) if len(state.scopes) > 1 else state.scopes,
        due=pruned(state.due, exec_id),
    )


def node_cancelled(state: RunState, event: e.NodeCancelled) -> RunState:
    """An execution, or a visit that only has its tokens yet, is given up."""
    scope = state.scopes.get(scope_of(event.exec))
    if scope is None:
        return state
    if event.exec in scope.active:
        scope = replace(scope, active=without(scope.active, event.exec))
    else:
        node, _, visit = event.exec.rpartition("/")[2].rpartition(":")
        if int(visit) != scope.visits.get(node, 0) + 1 or node not in scope.tokens:
            return state
        visits = put(scope.visits, node, int(visit))
        scope = replace(scope, tokens=without(scope.tokens, node), visits=visits)
    state = _without(state, event.exec)
    scopes = put(state.scopes, scope.path, settle(scope))
    return replace(state, scopes=scopes, updated=event.time)


def node_compensated(state: RunState, event: e.NodeCompensated) -> RunState:
    """What an execution did is undone, as far as it could be."""
    left = tuple(undo for undo in state.undo if undo.exec != event.exec)
    calls = without(state.calls, f"{event.exec}/undo")
    lost = {} if event.error is None else {event.exec: event.error}
    uncompensated = {**state.uncompensated, **lost} if lost else state.uncompensated
    return replace(state, undo=left, calls=calls, uncompensated=uncompensated, updated=event.time)


def scope_opened(state: RunState, event: e.ScopeOpened) -> RunState:
    """A subgraph, or one item of a map, begins."""
    execution = state.execution(event.exec)
    if execution is None or event.scope in state.scopes or not execution.live:
        return state
    try:
        graph = inner_graph(state.scope(execution).graph, execution.node, event.tool)
        values = begins_with(state, execution, event.index)
    except (InvalidInput, KeyError, IndexError):
        return state
    scope = Scope(
        event.scope,
        graph,
        exec=execution.id,
        index=event.index,
        tool=event.tool,
        settled=values,
        tokens={graph.entry: (Token("START", 0, frozenset()),)},
    )
    state = with_execution(state, replace(execution, opened=execution.opened + 1))
    return replace(
        state,
        scopes=put(state.scopes, event.scope, scope),
        due=without(state.due, execution.id),
        updated=event.time,
    )


def scope_closed(state: RunState, event: e.ScopeClosed) -> RunState:
    """A subgraph, or one item of a map, has ended; the execution that it belongs to has its result, or its error."""
    scope = state.scopes.get(event.scope)
    execution = state.execution(scope.exec) if scope is not None else None
    if scope is None or execution is None or scope.problem is not None:
        return state
    node = state.node(execution)
    if event.error is None:
        results = put(execution.results, scope.index, result_of(node, scope))
        execution = replace(execution, results=results)
        state = _closed(state, scope)
    elif isinstance(node, MapNode) and node.on_item_error == "collect":
        error: JsonValue = {"error": event.error.brief().model_dump(mode="json", exclude_none=True)}
        execution = replace(execution, results=put(execution.results, scope.index, error))
        state = _closed(state, scope)
    elif isinstance(node, AgentNode):
        execution = replace(execution, broken=put(execution.broken, scope.index, event.error))
        state = _closed(state, scope)
    else:
        execution = replace(execution, broken=put(execution.broken, scope.index, event.error))
        failed = replace(scope, problem=event.error)
        state = replace(state, scopes=put(state.scopes, scope.path, failed))
    return with_due(replace(with_execution(state, execution), updated=event.time), execution.id)


def _closed(state: RunState, scope: Scope) -> RunState:
    for exec_id in scope.active:
        state = _without(state, exec_id)
    return replace(state, scopes=without(state.scopes, scope.path))
