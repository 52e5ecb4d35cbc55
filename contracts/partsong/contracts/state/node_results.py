"""What a finished call or scope means for its execution: an update of the state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import assert_never

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput
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
from partsong.contracts.graph.reducers import OVERWRITE, as_data, meant
from partsong.contracts.graph.templates import look_up, render_value
from partsong.contracts.state.conversation import written
from partsong.contracts.state.hook_decisions import replaced
from partsong.contracts.state.model_answers import tool_calls_of
from partsong.contracts.state.scope import Execution, Scope
from partsong.contracts.state.state import RunState, line_of

__all__ = [
    "ask_id",
    "begins_with",
    "items_of",
    "result_of",
    "updates_of",
]


def ask_id(execution: Execution) -> str:
    """The id of an approval node's question; asked again after a retry or a fork, it is another one."""
    return f"{execution.id}/a{execution.round}" if execution.round else execution.id


def updates_of(  # noqa: PLR0911  # one case per kind of node
    state: RunState,
    execution: Execution,
    computed: Mapping[str, JsonValue] | None = None,
    signal: str | None = None,
    key: str | None = None,
) -> tuple[Mapping[str, JsonValue], ...]:
    """What a finished execution adds to the state; `computed`, `signal` and its `key` are what its last event says."""
    node = state.node(execution)
    fresh = replaced(state, execution.id, "after_node", None)
    if isinstance(fresh, dict):
        return (fresh,)
    match node:
        case FunctionNode():
            outcome = _outcome(state, execution.id)
            if not isinstance(outcome, e.CallCompleted):
                return ()
            return (outcome.update or {}, *outcome.more)
        case ToolNode():
            outcome = _outcome(state, execution.id)
            if not isinstance(outcome, e.CallCompleted):
                return ()
            content = replaced(state, execution.id, "after_tool_call", outcome.content)
            return ({node.output or execution.node: as_data(content)},)
        case AgentNode():
            update = written(state, execution, node)
            return (update,) if update else ()
        case ApprovalNode():
            return _decision(node, execution, _outcome(state, ask_id(execution)))
        case SubgraphNode():
            return _inner(state, execution, node)
        case MapNode():
            count = len(execution.results)
            return ({node.into: [execution.results.get(i) for i in range(count)]},)
        case WaitNode():
            line = state.signals.get(line_of(node.signal or "", key), ())
            taken = next((s for s in line if s.id == signal), None)
            return ({node.output or execution.node: as_data(taken.payload)},) if taken else ()
        case TransformNode():
            return ({key: as_data(value) for key, value in computed.items()},) if computed else ()
        case _:
            assert_never(node)


def _outcome(state: RunState, call_id: str) -> object:
    call = state.calls.get(call_id)
    return call.outcome if call is not None else None


def _decision(
    node: ApprovalNode, execution: Execution, outcome: object
) -> tuple[Mapping[str, JsonValue], ...]:
    match outcome:
        case e.ApprovalDecided(decision=decision, by=by, reason=reason, edited=edited):
            said: JsonValue = {"decision": decision, "by": by, "reason": reason}
            if node.editable is None or edited is None:
                return ({execution.node: said},)
            return ({execution.node: said}, {node.editable: {OVERWRITE: edited}})
        case e.ApprovalExpired():
            expired: JsonValue = {"decision": node.otherwise, "by": "deadline", "reason": None}
            return ({execution.node: expired},)
        case _:
            return ()


def _inner(
    state: RunState, execution: Execution, node: SubgraphNode
) -> tuple[Mapping[str, JsonValue], ...]:
    outcome = _outcome(state, execution.id)
    if isinstance(outcome, e.ChildEnded):
        result: JsonValue = _crossing(node.outputs, outcome.state)
    else:
        result = execution.results.get(0)
    return (result,) if isinstance(result, dict) else ()


def _crossing(
    outputs: Mapping[str, str] | None, values: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    if outputs is None:
        return {key: as_data(value) for key, value in values.items()}
    return {outer: as_data(values[inner]) for outer, inner in outputs.items() if inner in values}


def result_of(node: object, scope: Scope) -> JsonValue:
    """What an ended scope gives to the execution that it belongs to."""
    match node:
        case AgentNode(graphs=graphs) if (key := graphs[scope.tool].result) is not None:
            return scope.values.get(key)
        case SubgraphNode(outputs=None):
            return dict(scope.added)
        case SubgraphNode(outputs=outputs):
            return _crossing(outputs, scope.values)
        case MapNode(collect=str(key)):
            return scope.values.get(key)
        case _:
            return {key: meant(value) for key, value in scope.added.items()}


def begins_with(state: RunState, execution: Execution, index: int) -> dict[str, JsonValue]:
    """What an inner scope begins with.

    Raises:
        InvalidInput: `template.unknown_key`, `map.not_a_list`.
    """
    node = state.node(execution)
    if isinstance(node, AgentNode):
        return dict(tool_calls_of(state, execution)[index].args)
    view = state.view(execution)
    assert isinstance(node, SubgraphNode | MapNode)  # noqa: S101
    values = view if node.inputs is None else {}
    for key, value in (node.inputs or {}).items():
        values[key] = render_value(value, view)
    if isinstance(node, MapNode):
        values["item"] = items_of(node, view)[index]
        values["index"] = index
    return values


def items_of(node: MapNode, view: Mapping[str, JsonValue]) -> list[JsonValue]:
    """The list a map goes over.

    Raises:
        InvalidInput: `template.unknown_key`, `map.not_a_list`.
    """
    found = look_up(node.over, view)
    if not isinstance(found, list):
        raise InvalidInput(
            "map.not_a_list",
            f"{node.over} is {json.dumps(found)[:60]}, a map goes over a list",
            where=node.over,
            fix="write a list there in a node before",
        )
    return found
