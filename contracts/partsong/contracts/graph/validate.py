"""What makes a graph valid. Every finding names its place; a graph with findings never runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from partsong.contracts.durations import ASKED
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import END, START, Edge, FunctionNode, Graph, SubgraphNode, graphs_in
from partsong.contracts.graph.expressions import check_expression
from partsong.contracts.graph.misfits import problem_of, problems_of
from partsong.contracts.graph.plan import plan_of
from partsong.contracts.graph.salvage import Salvage
from partsong.contracts.graph.validate_nodes import node_findings
from partsong.contracts.ids import LONGEST_PATH
from partsong.contracts.plain import plain

__all__ = ["check_graph", "findings", "functions_of", "parse_graph", "problem_of", "problems_in"]


def parse_graph(spec: object, *, where: str = "graph", stored: bool = False) -> Graph:
    """A valid graph from plain JSON.

    Edges from START set the entry, in inner graphs too; they are not kept. Without an entry, runs begin at the first
    node. One that was `stored` may have longer durations than are accepted now.

    Raises:
        InvalidInput: with all findings; `graph.malformed` if the spec has not even the right shape.
    """
    wrong: list[Problem] = []
    whole = _with_entry(spec, where, "", wrong)
    if wrong:
        raise InvalidInput.all_of(wrong)
    try:
        graph = Graph.model_validate(whole, context=None if stored else ASKED)
    except ValidationError as error:
        _, *more = problems_of(error, "graph.malformed", where)
        raise InvalidInput.all_of([problem_of(error, "graph.malformed", where), *more]) from None
    return check_graph(graph)


def problems_in(spec: object, *, where: str = "graph") -> list[Problem]:
    """All that is wrong with plain JSON as a graph, with its shape and with what it says."""
    found: list[Problem] = []
    whole = _with_entry(spec, where, "", found)
    salvage = Salvage()
    for attempt in range(3):
        try:
            graph = Graph.model_validate(whole, context=ASKED)
        except ValidationError as error:
            if attempt == 0:
                found += problems_of(error, "graph.malformed", where)
            if not isinstance(whole, Mapping):
                break  # there is nothing that could be looked at
            salvage.whole = attempt > 0
            whole = salvage.graph(whole, [wrong["loc"] for wrong in error.errors()], "")
        else:
            found += (problem for problem in findings(graph) if not salvage.hides(problem))
            break
    return list({(p.code, p.where, p.message): p for p in found}.values())


def check_graph(graph: Graph) -> Graph:
    """Return the graph if it is valid.

    Raises:
        InvalidInput: with all findings.
    """
    if found := list(findings(graph)):
        raise InvalidInput.all_of(found)
    return graph


_VISIT = 12
"""What an execution's id has beside its node's name: `:<visit>`, the number of an item or a turn, slashes."""
_INNERMOST = 64 + 2 * _VISIT
"""What the name of a node in the innermost graph and a call of it may take."""


def findings(graph: Graph, outside: int = 0) -> Iterator[Problem]:
    """All that is wrong with a graph, most basic first; `outside` is how long the path of its executions is already."""
    if not outside and (unfit := _unfit(graph)) is not None:
        yield unfit
        return
    yield from _entry_and_names(graph)
    yield from _edges(graph)
    yield from _unreachable(graph)
    yield from _endless(graph)
    yield from node_findings(graph, plan_of(graph))
    for name, node in graph.nodes.items():
        apart = isinstance(node, SubgraphNode) and node.detached  # a run of its own
        before = 0 if apart else outside + len(name) + _VISIT
        for place, inner in graphs_in(node).items():
            if before > LONGEST_PATH - _INNERMOST:
                yield _too_deep(name, place, before)
                continue
            for problem in findings(inner, before):
                where = f"nodes.{name}.{place}.{problem.where}"
                yield problem.model_copy(update={"where": where})


def _unfit(graph: Graph) -> Problem | None:
    """What in a graph is no JSON for every reader; what comes over the bus has been asked already, a file has not."""
    try:
        plain(graph.model_dump(by_alias=True, exclude_defaults=True), "graph", "graph.malformed")
    except InvalidInput as error:
        return error.problem
    return None


def _too_deep(name: str, place: str, length: int) -> Problem:
    return Problem(
        code="graph.too_deep",
        message=f"the names of the nodes around the graph in {name} take {length} characters of the ids of its calls, "
        f"which have {LONGEST_PATH} at most",
        where=f"nodes.{name}.{place}",
        fix="give the outer nodes shorter names, put fewer graphs into each other, or make one of them detached",
    )


def _with_entry(spec: object, whole: str, place: str, wrong: list[Problem]) -> object:
    """The spec, and those inside it, with an entry and without edges from START; what is `wrong` with those is added."""
    if not isinstance(spec, Mapping):
        said = f"expected an object, got {type(spec).__name__}"
        at = place.removesuffix(".") or whole
        wrong.append(Problem(code="graph.malformed", message=said, where=at, fault="caller"))
        return spec
    found = dict(spec)
    edges, nodes = found.get("edges"), found.get("nodes")
    if isinstance(edges, list | tuple):
        starts = [e for e in edges if isinstance(e, Mapping) and e.get("from") == START]
        found["edges"] = [e for e in edges if e not in starts]
        if starts:
            found["entry"] = _entry(found.get("entry"), starts, place, wrong)
    if isinstance(nodes, Mapping):
        if "entry" not in found and nodes:
            found["entry"] = next(iter(nodes))
        found["nodes"] = {
            name: _with_entries(node, whole, f"{place}nodes.{name}.", wrong)
            if isinstance(node, Mapping)
            else node
            for name, node in nodes.items()
        }
    return found


def _with_entries(
    part: Mapping[str, object], whole: str, place: str, wrong: list[Problem]
) -> dict[str, object]:
    """A node, or a graph that it calls as a tool, with the graphs in it."""
    found = dict(part)
    if isinstance(graph := found.get("graph"), Mapping):
        found["graph"] = _with_entry(graph, whole, f"{place}graph.", wrong)
    if isinstance(tools := found.get("graphs"), Mapping):
        found["graphs"] = {
            name: _with_entries(tool, whole, f"{place}graphs.{name}.", wrong)
            if isinstance(tool, Mapping)
            else tool
            for name, tool in tools.items()
        }
    return found


def _entry(
    given: object, starts: list[Mapping[str, object]], place: str, wrong: list[Problem]
) -> object:
    targets = list(
        dict.fromkeys(str(name) for name in (given, *(e.get("to") for e in starts)) if name)
    )
    if len(targets) > 1:
        two = InvalidInput(
            "graph.two_entries",
            f"the entry is {targets[0]} already, now {targets[1]} is to be it",
            where=f"{place}entry",
            fix="begin with one node that leads to both",
        )
        wrong.append(two.problem)
    for edge in starts:
        if more := sorted(map(str, edge.keys() - {"from", "to"})):
            labelled = InvalidInput(
                "graph.start_label",
                f"the edge START → {edge.get('to')} has {', '.join(more)}, but nothing comes before the start",
                where=f"{place}entry",
                fix="begin with a node, and put the choice behind it",
            )
            wrong.append(labelled.problem)
    return starts[0].get("to")


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
    seen: set[tuple[object, ...]] = set()
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
        yield from _choices(edge, arrow, i)
        key = (edge.source, edge.to, edge.on, edge.when, edge.otherwise, edge.goto)
        if key in seen:
            yield Problem(
                code="graph.duplicate_edge", message=f"{arrow} is there twice", where=f"edges[{i}]"
            )
        seen.add(key)


def _choices(edge: Edge, arrow: str, i: int) -> Iterator[Problem]:
    chosen = {"on": edge.on, "when": edge.when, "else": edge.otherwise, "goto": edge.goto}
    ways = [name for name, value in chosen.items() if value]
    if len(ways) > 1:
        yield Problem(
            code="graph.two_choices", message=f"{arrow} is chosen by {' and '.join(ways)}", where=f"edges[{i}]",
            fix="an edge is taken for one reason: make it two edges",
        )  # fmt: skip
    if edge.when is not None:
        try:
            check_expression(edge.when, f"edges[{i}].when")
        except InvalidInput as error:
            yield error.problem


def _unreachable(graph: Graph) -> Iterator[Problem]:
    """Names that no node has are taken as they may have been meant: who is missed by a slip is not unreachable, too."""

    def meant(name: str) -> str:
        if name in graph.nodes or name == END:
            return name
        return next(iter(difflib.get_close_matches(name, graph.nodes, n=1)), name)

    targets: dict[str, list[str]] = {}
    for edge in graph.edges:
        targets.setdefault(meant(edge.source), []).append(meant(edge.to))
    entry = meant(graph.entry)
    reached, left = {entry}, [entry]
    while left:
        fresh = [to for to in targets.get(left.pop(), ()) if to not in reached]
        reached.update(fresh)
        left += fresh
    for name in graph.nodes if entry in graph.nodes else ():
        if name not in reached:
            yield Problem(
                code="graph.unreachable",
                message=f"no path leads from {entry} to {name}",
                where=f"nodes.{name}",
                fix="add an edge to it or remove it",
            )


def _endless(graph: Graph) -> Iterator[Problem]:
    """A cycle of edges that are always taken, with no bound on visits, can only end at the step limit."""
    always: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for edge in graph.edges:
        if edge.plain and edge.source in always and edge.to in always:
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


def functions_of(graph: Graph) -> Iterator[str]:
    """The names of all functions a graph calls, those of inner graphs and compensations included."""
    for node in graph.nodes.values():
        if isinstance(node, FunctionNode):
            yield node.function
        if node.compensate is not None:
            yield node.compensate
        for inner in graphs_in(node).values():
            yield from functions_of(inner)
