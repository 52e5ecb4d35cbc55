"""What makes single nodes of a graph valid: their labels, joins, expressions and schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.exception_names import misspelt
from partsong.contracts.graph import (
    AgentNode,
    ApprovalNode,
    AtLeast,
    FunctionNode,
    Graph,
    MapNode,
    Node,
    SubgraphNode,
    ToolNode,
    TransformNode,
    WaitNode,
)
from partsong.contracts.graph.conform import check_schema
from partsong.contracts.graph.expressions import check_expression
from partsong.contracts.graph.nodes import NodeBase
from partsong.contracts.graph.plan import Plan
from partsong.contracts.graph.validate_agents import agent_findings
from partsong.contracts.plain import plain

__all__ = ["node_findings"]

_T = TypeVar("_T")
_LABELS = {
    ApprovalNode: ("approved", "rejected"),
    WaitNode: ("success", "timeout"),
    ToolNode: ("success",),
    SubgraphNode: ("success",),
    MapNode: ("success",),
    TransformNode: ("success",),
}

_CALLING = ("retry", "timeout", "idle_timeout")
_HEEDED: dict[type[NodeBase], tuple[str, ...]] = {
    FunctionNode: _CALLING,
    AgentNode: _CALLING,
    ToolNode: ("retry", "timeout"),
}
"""By kind: which of the options for calls it heeds; other kinds heed none."""
_INSTEAD: dict[type[NodeBase], str] = {
    ToolNode: "use timeout: a tool shows nothing before its result",
    ApprovalNode: "use deadline and otherwise: people are asked once",
    WaitNode: "use deadline: nobody is called",
    TransformNode: "leave it out: the engine computes it at once",
    MapNode: "give it to the nodes inside",
    SubgraphNode: "give it to the nodes inside",
}


def node_findings(graph: Graph, plan: Plan) -> Iterator[Problem]:
    """All that is wrong with the nodes of a graph whose edges are sound."""
    arriving: dict[str, int] = dict.fromkeys(graph.nodes, 0)
    for edge in graph.edges:
        if edge.to in arriving:
            arriving[edge.to] += 1
    for name, node in graph.nodes.items():
        yield from _labels(name, node, plan)
        yield from _conditions(name, graph, plan)
        yield from _join(name, node, arriving[name])
        yield from _idle_options(name, node)
        yield from _retried(name, node)
        yield from _texts(name, node)
        yield from _values(name, node)
        if isinstance(node, AgentNode):
            yield from agent_findings(name, node, graph, plan)
    yield from _state(graph)


def _values(name: str, node: Node) -> Iterator[Problem]:
    """What a node hands on must be JSON: a graph that is made in Python may hold what no file can."""
    for field in ("inputs", "args"):
        try:
            plain(getattr(node, field, None), f"nodes.{name}.{field}", "graph.malformed")
        except InvalidInput as error:
            yield error.problem


def _retried(name: str, node: Node) -> Iterator[Problem]:
    """Names in a retry that are for no error."""
    for field in ("retry_on", "not_on") if node.retry is not None else ():
        for index, given in enumerate(getattr(node.retry, field)):
            if (why := misspelt(str(given))) is not None:
                yield Problem(
                    code="graph.bad_retry",
                    message=f"{given!r:.80}: {why}",
                    where=f"nodes.{name}.retry.{field}[{index}]",
                    fix="write a class (ConnectionError, httpx.TimeoutException), a code (function.timeout), "
                    "or how codes begin (provider.)",
                )


def _labels(name: str, node: Node, plan: Plan) -> Iterator[Problem]:
    if isinstance(node, FunctionNode):
        return
    if isinstance(node, AgentNode):
        known: tuple[str, ...] = ("success", *node.agent.handoffs)
    else:
        known = _LABELS[type(node)]
    for label in sorted(plan.labels[name] - {*known, "failure"}):
        yield Problem(
            code="graph.unknown_label",
            message=f"{node.type} node {name} has an edge for {label!r}; its outcomes are {', '.join(known)}"
            " and failure",
            where=f"nodes.{name}",
            fix="put a condition on the edge, or route in a function node that returns Route(label, update)",
        )


def _conditions(name: str, graph: Graph, plan: Plan) -> Iterator[Problem]:
    conditions = [graph.edges[i] for i in plan.conditions[name]]
    others = [edge for edge in conditions if edge.otherwise]
    if len(others) > 1 or (others and len(conditions) == 1):
        what = "has two else edges" if len(others) > 1 else "has an else edge and no condition"
        yield Problem(code="graph.bad_else", message=f"node {name} {what}", where=f"nodes.{name}")


def _join(name: str, node: Node, arriving: int) -> Iterator[Problem]:
    if isinstance(node.join, AtLeast) and node.join.n > arriving:
        yield Problem(
            code="graph.join_too_many",
            message=f"node {name} waits for {node.join.n} branches, {arriving} edges lead to it",
            where=f"nodes.{name}.join",
        )


def _idle_options(name: str, node: Node) -> Iterator[Problem]:
    """Options that look as if they did something, and do not."""
    heeded = _HEEDED.get(type(node), ())
    if node.compensate is not None or (isinstance(node, SubgraphNode) and node.detached):
        heeded = (*heeded, "retry")
    for option in _CALLING:
        if option not in heeded and getattr(node, option) is not None:
            alone = isinstance(node, SubgraphNode) and option == "retry"
            yield Problem(
                code="graph.no_effect",
                message=f"{node.type} node {name} has {option}, which has no effect there",
                where=f"nodes.{name}.{option}",
                fix=_INSTEAD[type(node)] + (", or make the subgraph detached" if alone else ""),
            )


def _texts(name: str, node: Node) -> Iterator[Problem]:
    at = f"nodes.{name}"
    match node:
        case TransformNode():
            for key, expression in node.set.items():
                yield from _refused(check_expression, expression, f"{at}.set.{key}")
        case WaitNode():
            if node.key is not None and "{{" not in node.key:
                yield from _refused(check_expression, node.key, f"{at}.key")
            if node.signal_schema is not None:
                yield from _refused(check_schema, node.signal_schema, f"{at}.signal_schema")
        case ApprovalNode(edit_schema=schema) if schema is not None:
            yield from _refused(check_schema, schema, f"{at}.edit_schema")
        case _:
            pass


def _refused(check: Callable[[_T, str], object], what: _T, where: str) -> Iterator[Problem]:
    try:
        check(what, where)
    except InvalidInput as error:
        yield error.problem


def _state(graph: Graph) -> Iterator[Problem]:
    for key in graph.memory:
        if not key or graph.memory.count(key) > 1:
            yield Problem(
                code="graph.memory",
                message=f"memory names {key!r} {graph.memory.count(key)} times"
                if key
                else "memory names an empty key",
                where="memory",
            )
    for key, reducer in graph.reducers.items():
        if not key:
            yield Problem(
                code="graph.reducer",
                message=f"reducer {reducer} has an empty key",
                where="reducers",
            )
    if graph.state_schema is not None:
        try:
            check_schema(graph.state_schema, "state_schema")
        except InvalidInput as error:
            yield error.problem
