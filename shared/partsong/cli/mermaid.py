"""A graph as a Mermaid flowchart, for documents and pull requests."""

from __future__ import annotations

from partsong.contracts.graph import END, Graph

__all__ = ["mermaid"]

_SHAPES = {
    "function": ("[", "]"),
    "agent": ("([", "])"),
    "tool": ("[[", "]]"),
    "approval": ("{{", "}}"),
}
_ESCAPES = str.maketrans({'"': "#quot;", "#": "#35;", "<": "#lt;", ">": "#gt;", "|": "#124;"})


def mermaid(graph: Graph) -> str:
    """The flowchart: labels stand on their edges, shapes tell functions, agents, tools and approvals apart.

    Nodes are numbered, because a name like `end` means something to Mermaid.
    """
    ids = {name: f"n{i}" for i, name in enumerate(graph.nodes)}
    lines = ["flowchart TD", "  start((start))"]
    for name, node in graph.nodes.items():
        left, right = _SHAPES[node.type]
        lines.append(f"  {ids[name]}{left}{_quoted(name)}{right}")
    if any(edge.to == END for edge in graph.edges):
        lines.append("  stop((end))")
    lines.append(f"  start --> {ids[graph.entry]}")
    for edge in graph.edges:
        label = "" if edge.on is None else f"|{_quoted(edge.on)}|"
        lines.append(f"  {ids[edge.source]} -->{label} {ids.get(edge.to, 'stop')}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'
