"""A graph made ready to run: edges by node, positions, and who can reach whom.

Reachability: R(u) is the set of nodes reachable from u over one or more edges, kept as a bit set over node positions.
It decides when a join may fire (see engine.scheduling.joins), and is computed once per graph: O(nodes + edges) for the
strongly connected components, then one OR per edge.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache

from partsong.contracts.graph import Graph, Node, SubgraphNode, graphs_in

__all__ = ["Plan", "plan_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Look-ups that fold and decide need at every step."""

    graph: Graph = field(repr=False)
    position: dict[str, int]
    """Place of each node in graph order."""
    outgoing: dict[str, tuple[int, ...]]
    """Indices of the edges that leave a node; edges to END are among them."""
    reach: dict[str, int]
    """R(u) as a bit set over positions."""
    labels: dict[str, frozenset[str]]
    """Outcome labels a node has edges for."""
    conditions: dict[str, tuple[int, ...]]
    """Indices of a node's edges with a condition, in order, its `else` edge last."""
    single: frozenset[str]
    """Nodes that only one edge leads to: there is nothing to join."""
    early: frozenset[str]
    """Nodes that fire before all that could reach them has: joins `any`, `first`, `{n: k}`."""
    detaches: bool
    """Whether it begins runs of their own, in graphs inside it too."""

    def reaches(self, source: str, target: str) -> bool:
        """Whether target can be reached from source over one or more edges."""
        return bool(self.reach[source] >> self.position[target] & 1)

    def reach_without(self, closed: frozenset[str]) -> dict[str, int]:
        """R(u) if no path leads to or through the `closed` nodes."""
        return (
            _reach_without(_Holder(self.graph), self.graph.hash, closed) if closed else self.reach
        )


_HERE = "_plan"  # where functools.cached_property would keep it


@lru_cache(maxsize=512)
def _plan(_hash: str, holder: _Holder) -> Plan:
    graph = holder.graph
    position = {name: i for i, name in enumerate(graph.nodes)}
    outgoing: dict[str, list[int]] = {name: [] for name in graph.nodes}
    labels: dict[str, set[str]] = {name: set() for name in graph.nodes}
    targets = _targets(graph, frozenset())
    conditions: dict[str, list[int]] = {name: [] for name in graph.nodes}
    for i, edge in enumerate(graph.edges):
        if edge.source not in position:
            continue
        outgoing[edge.source].append(i)
        if edge.on is not None:
            labels[edge.source].add(edge.on)
        if edge.when is not None or edge.otherwise:
            conditions[edge.source].append(i)
    for choices in conditions.values():
        choices.sort(key=lambda i: graph.edges[i].otherwise)
    return Plan(
        graph,
        position,
        {name: tuple(edges) for name, edges in outgoing.items()},
        _reach(position, targets),
        {name: frozenset(found) for name, found in labels.items()},
        {name: tuple(found) for name, found in conditions.items()},
        _single(graph),
        frozenset(name for name, node in graph.nodes.items() if node.join != "all"),
        any(_detaches(node) for node in graph.nodes.values()),
    )


def _detaches(node: Node) -> bool:
    if isinstance(node, SubgraphNode) and node.detached:
        return True
    return any(plan_of(inner).detaches for inner in graphs_in(node).values())


def _single(graph: Graph) -> frozenset[str]:
    arriving = Counter([graph.entry, *(edge.to for edge in graph.edges)])
    return frozenset(
        name for name, node in graph.nodes.items() if arriving[name] == 1 and node.join == "all"
    )


def _targets(graph: Graph, closed: frozenset[str]) -> dict[str, list[str]]:
    """Where each node's edges lead, `closed` nodes left out."""
    targets: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for edge in graph.edges:
        if edge.source in targets and edge.to in targets and edge.to not in closed:
            targets[edge.source].append(edge.to)
    return targets


@lru_cache(maxsize=2048)
def _reach_without(holder: _Holder, _hash: str, closed: frozenset[str]) -> dict[str, int]:
    graph = holder.graph
    position = {name: i for i, name in enumerate(graph.nodes)}
    return _reach(position, _targets(graph, closed))


@dataclass(frozen=True, slots=True)
class _Holder:
    """Carries the graph past the cache's key: equal hashes mean equal graphs, so only the hash is compared."""

    graph: Graph = field(compare=False)


def plan_of(graph: Graph) -> Plan:
    """The plan of a graph; cached by content hash, and at the graph itself, because every fold asks for it."""
    found = graph.__dict__.get(_HERE)
    if not isinstance(found, Plan):
        found = vars(graph)[_HERE] = _plan(graph.hash, _Holder(graph))
    return found


def _reach(position: dict[str, int], targets: dict[str, list[str]]) -> dict[str, int]:
    """R(u) for all u: components in reverse topological order (Tarjan 1972), one bit set per component."""
    reach: dict[str, int] = {}
    for component in _components(targets):
        bits = 0
        cyclic = len(component) > 1 or component[0] in targets[component[0]]
        for name in component:
            for target in targets[name]:
                bits |= 1 << position[target] | reach.get(target, 0)
            if cyclic:
                bits |= 1 << position[name]
        for name in component:
            reach[name] = bits
    return reach


def _components(targets: dict[str, list[str]]) -> list[list[str]]:
    """Strongly connected components, successors first. Iterative: a chain may have thousands of nodes."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    on_stack: set[str] = set()
    stack: list[str] = []
    found: list[list[str]] = []
    for root, successors_of_root in targets.items():
        if root in index:
            continue
        work = [(root, iter(successors_of_root))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            name, successors = work[-1]
            for target in successors:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(targets[target])))
                    break
                if target in on_stack:
                    low[name] = min(low[name], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    component: list[str] = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.append(member)
                        if member == name:
                            break
                    found.append(component)
    return found
