"""What is left of a spec when all is taken out of it that has not the right shape, so that the rest can be checked too.

A node that cannot be read becomes a function node of its name, for that has any outcome and any number of edges; an edge
keeps its ends, if it has any. Nothing that is said of a stand-in is said to anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from partsong.contracts.errors import Problem
from partsong.contracts.graph import END

__all__ = ["Salvage"]

_Place = tuple[int | str, ...]

_STAND_IN = {"type": "function", "function": "stand:in"}
_BY_EDGES = frozenset(
    {"graph.bad_else", "graph.endless_cycle", "graph.handoff_nowhere", "graph.join_too_many"}
)
"""What may be said only because an edge is not what it was meant to be."""


@dataclass(slots=True)
class Salvage:
    """Takes out of a spec what is wrong, and remembers where."""

    whole: bool = False
    """Nodes go as a whole, as their parts have gone in vain."""
    places: set[str] = field(default_factory=set)
    mended: bool = False
    """Whether an edge is another one now."""

    def hides(self, problem: Problem) -> bool:
        """Whether a finding is about what was put in, and not about what somebody wrote."""
        where = problem.where or ""
        if self.mended and problem.code in _BY_EDGES:
            return True
        return any(where == p or where.startswith((f"{p}.", f"{p}[")) for p in self.places)

    def graph(
        self, spec: Mapping[str, object], wrong: Iterable[_Place], at: str
    ) -> dict[str, object]:
        """A graph without what is wrong at these places of it."""
        found = dict(spec)
        nodes = found.get("nodes")
        inside: dict[str, list[_Place]] = {}
        for place in wrong:
            match place:
                case ("nodes", str(name), *rest) if isinstance(nodes, Mapping):
                    inside.setdefault(name, []).append(tuple(rest))
                case ("edges", int(i), *_):
                    found["edges"] = self._edges(found, i, at)
                case ("reducers", str(key), *_) if isinstance(found.get("reducers"), Mapping):
                    found["reducers"] = _without(found["reducers"], key)
                case (str(key), *_):
                    found.pop(key, None)
        if isinstance(nodes, Mapping):
            kept = {
                name: self._node(node, inside[name], f"{at}nodes.{name}")
                if name in inside
                else node
                for name, node in nodes.items()
                if ("[key]",) not in inside.get(name, ())
            }
            found["nodes"] = kept
            found.setdefault("entry", next(iter(kept), ""))
        return {"name": "graph", **found}

    def _edges(self, spec: Mapping[str, object], i: int, at: str) -> list[object]:
        """The edges, each in its place; an edge for failures that ends changes nothing for anybody."""
        given = spec.get("edges")
        edges = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
        edge = edges[i] if i < len(edges) else None
        ends = (edge.get("from"), edge.get("to")) if isinstance(edge, Mapping) else (None, None)
        self.mended = True
        self.places.add(f"{at}edges[{i}]")
        if not self.whole and all(isinstance(end, str) for end in ends):
            edges[i] = {"from": ends[0], "to": ends[1]}
        elif edge is not None:
            edges[i] = {"from": spec.get("entry"), "to": END, "on": "failure"}
        return edges

    def _node(self, node: object, wrong: Sequence[_Place], at: str) -> object:
        """A node without its wrong fields; `wrong` begins with the node's type."""
        if not isinstance(node, Mapping) or any(len(place) < 2 for place in wrong):
            return self._stand_in(at)
        found = dict(node)
        graph, tools = found.get("graph"), found.get("graphs")
        inner: list[_Place] = []
        called: dict[str, list[_Place]] = {}
        for place in wrong:
            match place[1:]:
                case ("graph", _, *_) if isinstance(graph, Mapping):
                    inner.append(place[2:])
                case ("graphs", str(tool), "graph", _, *_) if isinstance(tools, Mapping):
                    called.setdefault(tool, []).append(place[4:])
                case _ if self.whole:
                    return self._stand_in(at)
                case (str(key), *_):
                    found.pop(key, None)
                    self.places.add(f"{at}.{key}")
        if inner and isinstance(graph, Mapping):
            found["graph"] = self.graph(graph, inner, f"{at}.graph.")
        if called and isinstance(tools, Mapping):
            found["graphs"] = {
                name: {**tool, "graph": self.graph(tool["graph"], called[name], f"{at}.graphs.{name}.graph.")}
                if name in called and isinstance(tool, Mapping) and isinstance(tool.get("graph"), Mapping)
                else tool
                for name, tool in tools.items()
            }  # fmt: skip
        return found

    def _stand_in(self, at: str) -> dict[str, str]:
        self.places.add(at)
        return _STAND_IN


def _without(mapping: object, key: str) -> dict[str, object]:
    return {k: v for k, v in mapping.items() if k != key} if isinstance(mapping, Mapping) else {}
