"""A graph as a table, one line per node, and a run's path through it as data."""

from __future__ import annotations

from collections.abc import Iterator

from partsong.cli.trail import Trail
from partsong.contracts.durations import format_duration
from partsong.contracts.graph import (
    AgentNode,
    ApprovalNode,
    Edge,
    FunctionNode,
    Graph,
    MapNode,
    Node,
    SubgraphNode,
    ToolNode,
    TransformNode,
    WaitNode,
    graphs_in,
)

__all__ = ["columns", "observed", "rows"]


def columns(trail: Trail | None) -> tuple[str, ...]:
    """What the table shows."""
    seen = () if trail is None else ("visits", "stands")
    return ("node", "type", *seen, "leads_to", "what")


def rows(
    graph: Graph, trail: Trail | None, *, expand: bool, place: str = ""
) -> Iterator[dict[str, object]]:
    """The nodes in their order; with `expand` those of inner graphs behind the node they are in."""
    for name, node in graph.nodes.items():
        path = f"{place}/{name}" if place else name
        leads = [_arrow(edge) for edge in graph.edges if edge.source == name]
        row: dict[str, object] = {"node": path, "type": node.type}
        if trail is not None:
            seen = trail.nodes.get(path)
            row["visits"] = str(seen.visits) if seen else "0"
            row["stands"] = (seen.error or seen.look) if seen else ""
        yield {**row, "leads_to": ", ".join(leads) or "END", "what": _what(node)}
        for inner in graphs_in(node).values() if expand else ():
            yield from rows(inner, trail, expand=True, place=path)


def observed(trail: Trail) -> dict[str, object]:
    """The path of a run as data."""
    return {
        "visited": {
            path: {"visits": seen.visits, "stands": seen.look, "error": seen.error}
            for path, seen in trail.nodes.items()
        },
        "taken": [
            {"in": place, **edge.model_dump(by_alias=True, exclude_defaults=True), "times": times}
            for (place, edge), times in trail.taken.items()
        ],
    }


def _arrow(edge: Edge) -> str:
    if edge.when is not None:
        return f"{edge.to} if {edge.when}"
    how = (
        "else" if edge.otherwise else "by goto" if edge.goto else f"on {edge.on}" if edge.on else ""
    )
    return f"{edge.to} {how}".rstrip()


def _what(node: Node) -> str:
    """What a node is about, in a few words."""
    match node:
        case FunctionNode(function=what) | ToolNode(tool=what) | ApprovalNode(title=what):
            return what
        case AgentNode(agent=agent):
            return agent.model
        case SubgraphNode(graph=graph, detached=detached):
            return f"{graph.name}, a run of its own" if detached else graph.name
        case MapNode(graph=graph, over=over, into=into):
            return f"{graph.name} for each of {over}, into {into}"
        case TransformNode(set=keys):
            return ", ".join(f"{key} = {cel}" for key, cel in keys.items())
        case WaitNode(signal=str(signal)):
            return f"signal {signal}"
        case WaitNode(seconds=seconds, until=until):
            return format_duration(seconds) if seconds is not None else f"until {until}"
