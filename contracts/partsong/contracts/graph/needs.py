"""Needs: what a graph calls that others must have, that of the graphs in it included."""

from __future__ import annotations

from collections.abc import Iterator

from partsong.contracts.graph.graph import AgentNode, Graph, graphs_in
from partsong.contracts.graph.nodes import ToolNode

__all__ = ["asks_models", "tools_of"]


def tools_of(graph: Graph) -> Iterator[tuple[str, str]]:
    """Name and source of each tool that a graph names; the source is empty where any of that name will do."""
    for node in graph.nodes.values():
        match node:
            case ToolNode(tool=tool, tools=tools, sources=sources):
                names: tuple[str, ...] = (tool, *tools)
            case AgentNode(agent=agent):
                names, sources = agent.tools, agent.sources
            case _:
                names, sources = (), {}
        for name in names:
            yield name, sources.get(name, "")
        for inner in graphs_in(node).values():
            yield from tools_of(inner)


def asks_models(graph: Graph) -> bool:
    """Whether a graph has an agent."""
    return any(
        isinstance(node, AgentNode) or any(map(asks_models, graphs_in(node).values()))
        for node in graph.nodes.values()
    )
