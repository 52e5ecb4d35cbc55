"""What there is to draw of a graph, whatever it is drawn with: boxes, arrows, and boxes in boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from partsong.cli.trail import Look, Seen, Trail
from partsong.contracts.graph import AgentNode, Edge, Graph, MapNode, Node, SubgraphNode

__all__ = ["Arrow", "Box", "Drawing", "Manner", "drawing"]

Manner = Literal["always", "chosen", "goto", "failure"]
"""Why an edge is taken."""
_TIMES = "×"  # noqa: RUF001  # it is meant


@dataclass(frozen=True, slots=True)
class Box:
    """A node."""

    id: str
    """By position, because a name like `end` means something to those who draw."""
    text: str
    kind: str
    look: Look | None = None
    inside: Drawing | None = None


@dataclass(frozen=True, slots=True)
class Arrow:
    """An edge."""

    source: str
    to: str | None
    """None for the end."""
    text: str
    manner: Manner
    taken: int = 0


@dataclass(frozen=True, slots=True)
class Drawing:
    """A graph, or one inside another."""

    entry: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    @property
    def ends(self) -> bool:
        """Whether an edge says that it leads to the end."""
        return any(arrow.to is None for arrow in self.arrows)

    def all_boxes(self) -> Iterator[Box]:
        """The boxes, also those in boxes."""
        for box in self.boxes:
            yield box
            if box.inside is not None:
                yield from box.inside.all_boxes()


def drawing(graph: Graph, *, expand: bool = False, trail: Trail | None = None) -> Drawing:
    """The graph; with `expand` also what is inside its nodes, with a trail also where a run has been."""
    return _drawing(graph, trail, "", "n", expand=expand)


def _drawing(graph: Graph, trail: Trail | None, place: str, stem: str, *, expand: bool) -> Drawing:
    ids = {name: f"{stem}{i}" for i, name in enumerate(graph.nodes)}
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    for name, node in graph.nodes.items():
        path = f"{place}/{name}" if place else name
        seen = trail.nodes.get(path) if trail is not None else None
        inside = (
            _drawing(node.graph, trail, path, f"{ids[name]}_", expand=True)
            if expand and isinstance(node, SubgraphNode | MapNode)
            else None
        )
        text = _named(name, node) + (_so_often(seen) if seen is not None else "")
        boxes.append(Box(ids[name], text, node.type, seen.look if seen else None, inside))
        if expand and isinstance(node, AgentNode):
            for i, (tool, called) in enumerate(node.graphs.items()):
                id_ = f"{ids[name]}_g{i}"
                within = _drawing(called.graph, trail, path, f"{id_}_", expand=True)
                boxes.append(Box(id_, tool, "subgraph", None, within))
                arrows.append(Arrow(ids[name], id_, "calls", "goto"))
    for edge in graph.edges:
        taken = trail.taken.get((place, edge), 0) if trail is not None else 0
        to = ids.get(edge.to)
        arrows.append(Arrow(ids[edge.source], to, _label(edge, taken), _manner(edge), taken))
    return Drawing(ids[graph.entry], tuple(boxes), tuple(arrows))


def _so_often(seen: Seen) -> str:
    return f" {_TIMES}{seen.visits}" + (f": {seen.error}" if seen.error else "")


def _named(name: str, node: Node) -> str:
    match node:
        case MapNode(over=over):
            return f"{name} (each of {over})"
        case SubgraphNode(detached=True):
            return f"{name} (a run of its own)"
        case _:
            return name


def _manner(edge: Edge) -> Manner:
    if edge.plain:
        return "always"
    return "goto" if edge.goto else "failure" if edge.on == "failure" else "chosen"


def _label(edge: Edge, taken: int) -> str:
    """What the edge is taken for, and how often it was if more than once."""
    words = [
        "else" if edge.otherwise else "goto" if edge.goto else edge.when or edge.on or "",
        f"{_TIMES}{taken}" if taken > 1 else "",
    ]
    return " ".join(word for word in words if word)
