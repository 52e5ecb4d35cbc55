"""What makes a graph valid. Every finding names its place; a graph with findings never runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import END, START, ApprovalNode, Graph
from partsong.contracts.plan import Plan, plan_of

__all__ = ["check_graph", "findings", "parse_graph", "problem_of"]


def parse_graph(spec: object, *, where: str = "graph") -> Graph:
    """A valid graph from plain JSON.

    Edges from START set the entry; they are not kept.

    Raises:
        InvalidInput: with the first finding; `graph.malformed` if the spec has not even the right shape.
    """
    if not isinstance(spec, Mapping):
        raise InvalidInput(
            "graph.malformed", f"expected an object, got {type(spec).__name__}", where=where
        )
    try:
        graph = Graph.model_validate(_with_entry(dict(spec)))
    except ValidationError as error:
        raise InvalidInput.of(problem_of(error, "graph.malformed", where)) from None
    return check_graph(graph)


def problem_of(error: ValidationError, code: str, where: str = "") -> Problem:
    """The first of pydantic's findings as a problem that names the field and the value."""
    first = error.errors(include_url=False)[0]
    path = where
    for part in first["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    given = repr(first.get("input"))
    given = given if len(given) <= 80 else given[:77] + "..."
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return Problem(code=code, message=f"{first['msg']}; got {given}{more}", where=path or None)


def check_graph(graph: Graph) -> Graph:
    """Return the graph if it is valid.

    Raises:
        InvalidInput: with the first finding.
    """
    for problem in findings(graph):
        raise InvalidInput.of(problem)
    return graph


def findings(graph: Graph) -> Iterator[Problem]:
    """All that is wrong with a graph, most basic first."""
    yield from _entry_and_names(graph)
    dangling = list(_edges(graph))
    yield from dangling
    if dangling or graph.entry not in graph.nodes:
        return
    plan = plan_of(graph)
    yield from _unreachable(graph, plan)
    yield from _endless(graph)
    yield from _nodes(graph, plan)


def _with_entry(spec: dict[str, object]) -> dict[str, object]:
    edges = spec.get("edges")
    if isinstance(edges, list | tuple):
        starts = [e for e in edges if isinstance(e, Mapping) and e.get("from") == START]
        spec["edges"] = [e for e in edges if e not in starts]
        if starts and "entry" not in spec:
            spec["entry"] = starts[0].get("to")
    nodes = spec.get("nodes")
    if "entry" not in spec and isinstance(nodes, Mapping) and nodes:
        spec["entry"] = next(iter(nodes))
    return spec


def _guess(name: str, graph: Graph) -> str:
    close = difflib.get_close_matches(name, [*graph.nodes, END], n=1)
    return f"did you mean {close[0]}?" if close else f"nodes are: {', '.join(graph.nodes)}"


def _entry_and_names(graph: Graph) -> Iterator[Problem]:
    for name in (START, END):
        if name in graph.nodes:
            yield Problem(
                code="graph.reserved_name",
                message=f"a node may not be called {name}",
                where=f"nodes.{name}",
            )
    if graph.entry not in graph.nodes:
        yield Problem(
            code="graph.unknown_entry",
            message=f"entry {graph.entry!r}: no such node",
            where="entry",
            fix=_guess(graph.entry, graph),
        )


def _edges(graph: Graph) -> Iterator[Problem]:
    seen: set[tuple[str, str, str | None]] = set()
    for i, edge in enumerate(graph.edges):
        arrow = f"edge {edge.source} → {edge.to}"
        if edge.source not in graph.nodes:
            yield Problem(
                code="graph.unknown_source", message=f"{arrow}: no node {edge.source}", where=f"edges[{i}].from",
                fix=_guess(edge.source, graph),
            )  # fmt: skip
        if edge.to not in graph.nodes and edge.to != END:
            yield Problem(
                code="graph.unknown_target", message=f"{arrow}: no node {edge.to}", where=f"edges[{i}].to",
                fix=_guess(edge.to, graph),
            )  # fmt: skip
        if (key := (edge.source, edge.to, edge.on)) in seen:
            yield Problem(
                code="graph.duplicate_edge", message=f"{arrow} is there twice", where=f"edges[{i}]"
            )
        seen.add(key)


def _unreachable(graph: Graph, plan: Plan) -> Iterator[Problem]:
    reached = plan.reach[graph.entry] | 1 << plan.position[graph.entry]
    for name, place in plan.position.items():
        if not reached >> place & 1:
            yield Problem(
                code="graph.unreachable",
                message=f"no path leads from {graph.entry} to {name}",
                where=f"nodes.{name}",
                fix="add an edge to it or remove it",
            )


def _endless(graph: Graph) -> Iterator[Problem]:
    """A cycle of edges that are always taken, with no bound on visits, can only end at the step limit."""
    always: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for edge in graph.edges:
        if edge.on is None and edge.to != END:
            always[edge.source].append(edge.to)
    state: dict[str, int] = {}
    for root in graph.nodes:
        path: list[str] = []
        stack = [(root, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                state[name] = 2
                path.pop()
                continue
            if state.get(name) == 2:
                continue
            if state.get(name) == 1:
                cycle = path[path.index(name) :]
                if all(graph.nodes[n].max_visits is None for n in cycle):
                    yield Problem(
                        code="graph.endless_cycle",
                        message=f"{' → '.join([*cycle, name])} never ends: all its edges are always taken",
                        where=f"nodes.{name}",
                        fix="leave it by an outcome label, or set max_visits on one of its nodes",
                    )
                    return
                continue
            state[name] = 1
            path.append(name)
            stack.append((name, True))
            stack.extend((target, False) for target in always[name])


def _nodes(graph: Graph, plan: Plan) -> Iterator[Problem]:
    for name, node in graph.nodes.items():
        labels = plan.labels[name]
        if isinstance(node, ApprovalNode):
            for label in sorted(labels - {"approved", "rejected", "failure"}):
                yield Problem(
                    code="graph.unknown_label",
                    message=f"approval {name} has an edge for {label!r}; its outcomes are approved and rejected",
                    where=f"nodes.{name}",
                )
            continue
        if node.type in {"agent", "tool"}:
            for label in sorted(labels - {"success", "failure"}):
                yield Problem(
                    code="graph.unknown_label",
                    message=f"{node.type} node {name} has an edge for {label!r}; its outcomes are success and failure",
                    where=f"nodes.{name}",
                    fix="route on the answer in a function node that returns Route(label, update)",
                )
    for key, reducer in graph.reducers.items():
        if not key:
            yield Problem(
                code="graph.reducer",
                message=f"reducer {reducer} has an empty key",
                where="reducers",
            )
