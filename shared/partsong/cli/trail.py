"""The path a run has taken through its graph: how often each node was visited, how it stands, which edges were taken.

Nodes of inner graphs are named by their path, `refund/pay`, whichever visit or item it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.graph import Edge, Graph, WaitNode, graphs_in
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import RunState

__all__ = ["Look", "Seen", "Trail", "trail"]

Look = Literal["done", "running", "waiting", "failed", "cancelled", "unfinished"]
"""How a node stands; one of many visits that waits or failed is what is seen of them."""
_ORDER: tuple[Look, ...] = ("waiting", "running", "failed", "unfinished", "done", "cancelled")


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a node."""

    visits: int
    look: Look
    error: str | None = None
    """Code of the newest error of a visit that failed."""


@dataclass(frozen=True, slots=True)
class Trail:
    """What became of a graph in one run."""

    nodes: Mapping[str, Seen] = field(default_factory=dict)
    """By path; nodes that were not visited are missing."""
    taken: Mapping[tuple[str, Edge], int] = field(default_factory=dict)
    """How often each edge was taken, by the path of its graph."""

    def around(self, exec_id: str, inner: Trail) -> Trail:
        """This path, and inside an execution of it that of the run which it waited for."""
        place = _place(exec_id)
        nodes = dict(self.nodes)
        for path, seen in inner.nodes.items():
            _note(nodes, f"{place}/{path}", seen)
        taken = Counter(dict(self.taken))
        for (path, edge), times in inner.taken.items():
            taken[f"{place}/{path}" if path else place, edge] += times
        return Trail(nodes, taken)


def trail(state: RunState, events: Iterable[e.Event]) -> Trail:
    """The path of a run: how it stands, and its events, those of the runs it was forked from first."""
    path = _Path()
    for event in events:
        path.add(event)
    nodes: dict[str, Seen] = {}
    for exec_id, last in path.looks.items():
        execution = state.execution(exec_id)
        look = _open(state, execution) if execution is not None else _ended(last)
        error = path.errors.get(exec_id) if look == "failed" else None
        _note(nodes, _place(exec_id), Seen(1, look, error))
    return Trail(nodes, path.taken)


def _note(nodes: dict[str, Seen], node: str, seen: Seen) -> None:
    """Add what is seen of some more visits of a node."""
    if (before := nodes.get(node)) is not None:
        new, old = _ORDER.index(seen.look), _ORDER.index(before.look)
        worst = seen.look if new < old else before.look
        seen = Seen(before.visits + seen.visits, worst, seen.error or before.error)
    nodes[node] = seen


class _Path:
    """What events add up to."""

    def __init__(self) -> None:
        self.looks: dict[str, Look] = {}
        self.errors: dict[str, str] = {}
        self.taken: Counter[tuple[str, Edge]] = Counter()
        self.graph: Graph | None = None

    def add(self, event: e.Event) -> None:
        match event:
            case e.RunStarted(graph=graph):
                self.graph = graph
            case e.RunForked() if self.graph is None:
                scopes = cast("dict[str, dict[str, JsonValue]]", event.state["scopes"])
                self.graph = Graph.model_validate(scopes[""]["graph"])
            case e.RunRetried(graph=graph):
                self.graph = graph or self.graph
            case e.NodeScheduled(exec=exec_id):
                self.looks[exec_id] = "running"
            case e.NodeCompleted(exec=exec_id, edges=edges):
                self._end(exec_id, "done", edges)
            case e.NodeFailed(exec=exec_id, edges=edges, error=error):
                self.errors[exec_id] = error.code
                self._end(exec_id, "failed", edges)
            case e.NodeCancelled(exec=exec_id):
                self.looks[exec_id] = "cancelled"
            case _:
                pass

    def _end(self, exec_id: str, look: Look, edges: tuple[int, ...]) -> None:
        self.looks[exec_id] = look
        path = _place(exec_id)
        place, graph = path.rpartition("/")[0], _around(self.graph, path)
        for index in edges:
            if graph is not None and index < len(graph.edges):
                self.taken[place, graph.edges[index]] += 1


def _place(exec_id: str) -> str:
    """The path of a node: `refund:1/0/pay:2` is a visit of `refund/pay`."""
    return "/".join(part.rpartition(":")[0] for part in exec_id.split("/") if ":" in part)


def _around(graph: Graph | None, path: str) -> Graph | None:
    """The graph that the node at a path is in, as far as there is one."""
    *outer, _ = names = path.split("/")
    for name, following in zip(outer, names[1:], strict=True):
        node = graph.nodes.get(name) if graph is not None else None
        inner = graphs_in(node).values() if node is not None else ()
        graph = next((found for found in inner if following in found.nodes), None)
    return graph


def _ended(last: Look) -> Look:
    """How an execution stands that is gone: what it was in may have been given up before it ended."""
    return "unfinished" if last == "running" else last


def _open(state: RunState, execution: Execution) -> Look:
    """How an execution stands that has not ended."""
    if execution.problem is not None:
        return "failed"
    if state.ended:
        return "unfinished"
    calls = [call for call in state.calls.values() if call.exec == execution.id]
    waits = any(
        (call.open and call.kind in {"approval", "run"}) or call.waits in state.timers
        for call in calls
    )
    return "waiting" if waits or isinstance(state.node(execution), WaitNode) else "running"
