"""`Draft`: what a builder has collected, and how it becomes a graph."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import (
    AgentNode,
    Edge,
    FunctionNode,
    Graph,
    GraphTool,
    MapNode,
    Node,
    ReducerName,
    SubgraphNode,
    ToolNode,
)
from partsong.contracts.graph.validate import check_graph, functions_of
from partsong.engine.local.equipped import Equipped
from partsong.workflow.options import Schema, checked, schema_of
from partsong.workflow.reference import check_name, portable, reference
from partsong.workflow.sources import Sources, own_tools_of

__all__ = ["Called", "Draft", "Function", "Inner", "Leaf"]

if TYPE_CHECKING:
    from partsong.plugins import Plugin
    from partsong.tools.tool import AnyTool

Function = Callable[..., object]
Leaf = type[Node]

_NODE = re.compile(r"nodes\.([^.]+)\.")
_UNNAMED, _DIGITS = "graph", 10
"""A graph without a name is called `graph-` and so many digits of its hash."""


@dataclass(frozen=True, slots=True)
class Inner:
    """A node with a graph inside, which may still grow."""

    kind: type[SubgraphNode | MapNode]
    graph: Draft | Graph
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Called:
    """A graph that an agent calls like a tool, which may still grow."""

    graph: Draft | Graph
    fields: Mapping[str, object]


@dataclass(slots=True)
class _Assembly:
    """The functions and agents of a graph and of all graphs in it, as it is put together."""

    sources: Sources
    travels: bool
    """Whether another process must find all that is in it."""
    functions: dict[str, Function] = field(default_factory=dict)
    agents: dict[str, Equipped] = field(default_factory=dict)
    """By the path of their node."""
    plugins: list[Plugin] = field(default_factory=list)

    def name(self, function: Function, place: str, where: str) -> str:
        """The name of one more function."""
        name = (
            portable(function, place, where)
            if self.travels
            else reference(function, place, self.functions)
        )
        self.functions[name] = function
        return name


class Draft:
    """A graph under construction; nodes keep the order in which they are added."""

    def __init__(
        self,
        name: str | None = None,
        *,
        reducers: Mapping[str, ReducerName] | None = None,
        state_model: Schema | None = None,
        memory: Sequence[str] = (),
        on_failure: Literal["fail_fast", "continue"] = "fail_fast",
        tools: Iterable[Callable[..., object]] = (),
        plugins: Iterable[Plugin] = (),
    ) -> None:
        self.name = name
        self._memory = tuple(memory)
        self._tools = _made(tools)
        self._plugins = tuple(plugins)
        self._agents: dict[str, Equipped] = {}
        """By node: agents that were given as objects with keys and tools of their own."""
        self._called: dict[str, dict[str, Called]] = {}
        """By agent node: graphs that it calls like tools."""
        self._reducers = dict(reducers or {})
        self._state_model = state_model
        self._on_failure = on_failure
        self._nodes: dict[str, Node | Inner] = {}
        self._edges: list[Edge] = []
        self._entry: str | None = None
        self._given: dict[str, Function] = {}
        """By node: functions that were given as such."""
        self._undo: dict[str, Function | str] = {}
        """By node: what undoes it."""
        self._visits: dict[str, int] = {}
        """By node: limits that a loop brings."""

    def compile(self) -> Graph:
        """The graph as data, valid.

        Raises:
            InvalidInput: with the first finding.
        """
        return self._compiled()[0]

    def validate(self) -> list[Problem]:
        """All that is wrong with the graph as it is now; nothing, if it can run."""
        try:
            self._compiled()
        except InvalidInput as error:
            return list(error.problems)
        return []

    def spec(self, *, portable_functions: bool = True) -> Graph:
        """The graph as it travels: every function must be importable by name elsewhere.

        Raises:
            InvalidInput: `function.not_portable`: of a lambda, for example, of a local function, or of one in `__main__`.
        """
        graph = self._compiled(travels=portable_functions)[0]
        if portable_functions:
            for name in functions_of(graph):
                check_name(name)
        return graph

    def unplaced_tools(self) -> dict[str, Problem]:
        """By name: tools of its own that no module has, so that no tool-runner can load them, and what to do.

        A tool-runner may have them all the same, if it was given them in the process in which it runs.
        """
        if not self.own_tools():
            return {}
        return self._compiled(travels=True)[1].sources.unplaced

    @property
    def functions(self) -> dict[str, Function]:
        """The functions by the names the compiled graph uses, those of inner graphs and compensations included."""
        return self._compiled()[1].functions

    def own_tools(self) -> tuple[AnyTool, ...]:
        """The tools that were given to it, to the graphs in it, and to their agents."""
        return tuple(self._own_tools(agents=True))

    def _own_tools(self, seen: tuple[Draft, ...] = (), *, agents: bool) -> Iterator[AnyTool]:
        yield from self._tools
        if agents:
            for agent in self._agents.values():
                yield from own_tools_of(agent)
        inner = [node.graph for node in self._nodes.values() if isinstance(node, Inner)]
        inner += [one.graph for tools in self._called.values() for one in tools.values()]
        for graph in inner:
            if isinstance(graph, Draft) and graph not in (*seen, self):
                yield from graph._own_tools((*seen, self), agents=agents)  # noqa: SLF001  # another of us

    def _compiled(self, *, travels: bool = False) -> tuple[Graph, _Assembly]:
        tools = self._own_tools(agents=False)
        assembly = _Assembly(Sources(tools, self, travels=travels), travels)
        return check_graph(self._assembled(assembly, (), "", "")), assembly

    def _assembled(
        self, assembly: _Assembly, outer: tuple[Draft, ...], path: str, where: str
    ) -> Graph:
        """The graph, not validated as a whole; `path` names the nodes it is in, `where` its place in the whole spec."""
        self._check(outer, where)
        assembly.plugins += self._plugins
        inside = "".join(f"{name}/" for name in _NODE.findall(where))
        assembly.agents.update({f"{inside}{name}": agent for name, agent in self._agents.items()})
        nodes = {
            name: self._node(name, assembly, (*outer, self), path, f"{where}nodes.{name}")
            for name in self._nodes
        }
        fields: dict[str, object] = {
            "name": self.name if self.name is not None else _UNNAMED,
            "entry": self._entry or next(iter(nodes)),
            "nodes": nodes,
            "edges": tuple(self._edges),
            "reducers": self._reducers,
            "state_schema": schema_of(self._state_model),
            "memory": self._memory,
            "on_failure": self._on_failure,
        }
        place = where.removesuffix(".") or "graph"
        graph = checked(Graph, fields, place)
        if self.name is not None:
            return graph
        # By its content: on the bus, where a name leads to the graph that came last, no two of them meet.
        digits = graph.hash.removeprefix("sha256:")[:_DIGITS]
        return checked(Graph, {**fields, "name": f"{_UNNAMED}-{digits}"}, place)

    def _node(
        self, name: str, assembly: _Assembly, outer: tuple[Draft, ...], path: str, where: str
    ) -> Node:
        found = self._nodes[name]
        place = f"{path}{name}"

        def inside(graph: Draft | Graph, path: str, at: str) -> Graph:
            if isinstance(graph, Graph):
                return graph
            return graph._assembled(assembly, outer, path, f"{where}.{at}.")  # noqa: SLF001  # another of us

        if isinstance(found, Inner):
            fields = {**found.fields, "graph": inside(found.graph, f"{place}/", "graph")}
            found = checked(found.kind, fields, where)
        update: dict[str, object] = {}
        if name in self._called:
            update["graphs"] = {
                tool: checked(
                    GraphTool,
                    {
                        **called.fields,
                        "graph": inside(called.graph, f"{place}/{tool}/", f"graphs.{tool}.graph"),
                    },
                    f"{where}.graphs.{tool}",
                )
                for tool, called in self._called[name].items()
            }
        if name in self._given:
            update["function"] = assembly.name(self._given[name], place, f"{where}.function")
        if (undo := self._undo.get(name)) is not None:
            undo_at = f"{place}.compensate", f"{where}.compensate"
            update["compensate"] = undo if isinstance(undo, str) else assembly.name(undo, *undo_at)
        update |= self._sources(name, found, assembly.sources, where)
        if name in self._visits:
            update["max_visits"] = self._visits[name]
        return found.model_copy(update=update) if update else found

    def _sources(self, name: str, node: Node, sources: Sources, where: str) -> dict[str, object]:
        """What says of a node where its tools stand."""
        match node:
            case ToolNode(tool=tool, tools=tools):
                found = sources.of((tool, *tools), where)
                return {"sources": {**found, **node.sources}} if found else {}
            case AgentNode(agent=spec):
                agent = self._agents.get(name)
                found = sources.of(spec.tools, f"{where}.agent", own_tools_of(agent), agent)
                sourced = spec.model_copy(update={"sources": {**found, **spec.sources}})
                return {"agent": sourced} if found else {}
            case _:
                return {}

    def _check(self, outer: tuple[Draft, ...], where: str) -> None:
        if self in outer:
            chain = " in ".join(draft.name or _UNNAMED for draft in (self, *reversed(outer)))
            raise InvalidInput(
                "graph.recursive",
                f"{self._title} is inside itself: {chain}",
                where=where.removesuffix(".") or None,
                fix="go back with an edge, or give the inner graph an end of its own",
            )
        if not self._nodes:
            raise InvalidInput(
                "graph.empty",
                f"{self._title} has no nodes",
                where=f"{where}nodes",
                fix="add_node(name, fn)",
            )
        for name, what in [
            *((name, "compensate") for name in self._undo),
            *((name, "add_loop") for name in self._visits),
            *((name, "add_agent_tool") for name in self._called),
        ]:
            if name not in self._nodes:
                raise InvalidInput(
                    "graph.unknown_node",
                    f"{what}({name!r}, …): no such node",
                    where=f"{where}nodes.{name}",
                    fix=f"nodes are: {', '.join(self._nodes)}",
                )

    @property
    def _title(self) -> str:
        return f"graph {self.name!r}" if self.name is not None else "the graph"

    def _put(self, name: str, node: Node | Inner, function: Function | None = None) -> Self:
        if name in self._nodes:
            raise InvalidInput(
                "graph.duplicate_node", f"node {name!r} is there already", where=f"nodes.{name}"
            )
        self._nodes[name] = node
        if function is not None:
            self._given[name] = function
        return self

    def _function(self, name: str, fn: Function | str, fields: Mapping[str, object]) -> Self:
        """Add a function node."""
        ref = fn if isinstance(fn, str) else reference(fn, name)
        node = checked(FunctionNode, {**fields, "function": ref}, f"nodes.{name}")
        return self._put(name, node, None if isinstance(fn, str) else fn)


def _made(tools: Iterable[Callable[..., object]]) -> tuple[AnyTool, ...]:
    """Plain functions become tools; what makes them is loaded only if there are any."""
    if not (given := tuple(tools)):
        return ()
    from partsong.tools.tool import as_tool

    return tuple(map(as_tool, given))
