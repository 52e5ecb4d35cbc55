"""What a graph takes to be evaluated and is not installed here: a client builds graphs without the engine's packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from partsong.contracts.errors import Problem, Unavailable
from partsong.contracts.foreign import cel
from partsong.contracts.foreign import schema as json_schema
from partsong.contracts.graph import (
    AgentNode,
    ApprovalNode,
    Graph,
    Node,
    TransformNode,
    WaitNode,
    graphs_in,
)

__all__ = ["lacking", "require_all"]


def lacking(graph: Graph) -> list[Problem]:
    """The packages that are missing here, each with the first place that takes it; without them, neither is checked."""
    found = (_absent(cel.require, _expressions(graph)), _absent(json_schema.require, _schemas(graph)))  # fmt: skip
    return [problem for problem in found if problem is not None]


def require_all(graph: Graph) -> None:
    """Refuse to run a graph that could not be evaluated here, before it begins.

    Raises:
        Unavailable: `cel.not_installed`, `jsonschema.not_installed`.
    """
    for problem in lacking(graph):
        raise Unavailable.of(problem)


def _absent(require: Callable[[], None], places: Iterator[str]) -> Problem | None:
    first = next(places, None)
    if first is None:
        return None
    try:
        require()
    except Unavailable as error:
        return error.problem.model_copy(update={"where": first})
    return None


def _expressions(graph: Graph, within: str = "") -> Iterator[str]:
    for i, edge in enumerate(graph.edges):
        if edge.when is not None:
            yield f"{within}edges[{i}].when"
    for name, node in graph.nodes.items():
        at = f"{within}nodes.{name}"
        if isinstance(node, TransformNode):
            yield from (f"{at}.set.{key}" for key in node.set)
        if isinstance(node, WaitNode) and node.key is not None and "{{" not in node.key:
            yield f"{at}.key"
        for place, inner in graphs_in(node).items():
            yield from _expressions(inner, f"{at}.{place}.")


def _schemas(graph: Graph, within: str = "") -> Iterator[str]:
    if graph.state_schema is not None:
        yield f"{within}state_schema"
    for name, node in graph.nodes.items():
        at = f"{within}nodes.{name}"
        yield from (f"{at}.{field}" for field in _fields(node))
        for place, inner in graphs_in(node).items():
            yield from _schemas(inner, f"{at}.{place}.")


def _fields(node: Node) -> Iterator[str]:
    match node:
        case AgentNode():
            if node.agent.output_schema is not None:
                yield "agent.output_schema"
            yield from (f"graphs.{tool}.parameters" for tool in node.graphs)
        case WaitNode() if node.signal_schema is not None:
            yield "signal_schema"
        case ApprovalNode() if node.edit_schema is not None:
            yield "edit_schema"
        case _:
            pass
