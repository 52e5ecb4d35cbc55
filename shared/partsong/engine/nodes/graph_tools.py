"""Graphs that a model calls like tools: each call runs in a scope of its own, inside the agent's execution."""

from __future__ import annotations

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import AgentNode
from partsong.contracts.graph.conform import check_value
from partsong.contracts.state.scope import Execution
from partsong.contracts.talk.messages import ToolCallPart
from partsong.engine.draft import Draft
from partsong.engine.scheduling import flow

__all__ = ["graph_done"]


def graph_done(
    draft: Draft,
    execution: Execution,
    node: AgentNode,
    index: int,
    wanted: ToolCallPart,
    cause: str,
) -> bool:
    """Whether the graph that a model called has ended; opens its scope if it has not begun."""
    if index in execution.results or index in execution.broken:
        return True
    path = f"{execution.id}/t{execution.turn}/c{index}"
    if path in draft.state.scopes:
        return False
    draft.add(
        e.ScopeOpened(
            id=draft.id(path, "opened"),
            time=draft.now,
            cause=cause,
            scope=path,
            exec=execution.id,
            index=index,
            tool=wanted.name,
        )
    )
    try:
        check_value(
            node.graphs[wanted.name].parameters,
            wanted.args,
            wanted.name,
            "tool.invalid_arguments",
            draft.evaluate,
        )
    except InvalidInput as error:
        flow.close_scope(draft, draft.state.scopes[path], error.problem, draft.id(path, "opened"))
    return False
