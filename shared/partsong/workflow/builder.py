"""`WorkflowGraph`: the Python builder of a graph.

The builder only collects; `compile` says what is wrong, and `execute`, `stream` and `Client.start` compile first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import (
    START,
    AgentNode,
    AgentSpec,
    ApprovalNode,
    Edge,
    FunctionNode,
    Graph,
    Join,
    Node,
    ReducerName,
    Retry,
    ToolNode,
)
from partsong.contracts.validate import check_graph, problem_of
from partsong.workflow.reference import portable, reference

if TYPE_CHECKING:
    from partsong.contracts.chunks import Chunk
    from partsong.contracts.events import Event
    from partsong.contracts.results import RunResult
    from partsong.local.engine import Approver

__all__ = ["WorkflowGraph"]

_Model = TypeVar("_Model", bound=BaseModel)


class _Specified(Protocol):
    """An agent as an object of `partsong.agents`."""

    def spec(self) -> AgentSpec:
        """The agent as data."""
        ...


class WorkflowGraph:
    """A graph under construction; nodes keep the order in which they are added."""

    def __init__(
        self,
        name: str,
        *,
        reducers: Mapping[str, ReducerName] | None = None,
        state_model: type[BaseModel] | None = None,
    ) -> None:
        self.name = name
        self._reducers = dict(reducers or {})
        self._state_model = state_model
        self._nodes: dict[str, Node] = {}
        self._edges: list[Edge] = []
        self._entry: str | None = None
        self._functions: dict[str, tuple[str, Callable[..., object]]] = {}

    def add_node(
        self,
        name: str,
        fn: Callable[..., object] | str,
        *,
        retry: Retry | None = None,
        timeout: float | str | None = None,
        max_visits: int | None = None,
        join: Join = "all",
    ) -> WorkflowGraph:
        """A Python function, or `module:qualname`. It takes the state and returns an update, a `Route`, or None."""
        ref = fn if isinstance(fn, str) else reference(fn, name)
        if not isinstance(fn, str):
            self._functions[name] = (ref, fn)
        return self._add(
            name,
            FunctionNode,
            {
                "function": ref,
                "retry": retry,
                "timeout": timeout,
                "max_visits": max_visits,
                "join": join,
            },
        )

    def add_agent(
        self,
        name: str,
        agent: AgentSpec | _Specified | str,
        *,
        prompt: str = "{{input}}",
        output: str | None = None,
        retry: Retry | None = None,
        timeout: float | str | None = None,
        max_visits: int | None = None,
        join: Join = "all",
    ) -> WorkflowGraph:
        """A model, as an `AgentSpec`, an `Agent` or just `provider:model`; it writes its answer to `output` (default: `name`)."""
        if isinstance(agent, str):
            agent = self._checked(name, AgentSpec, {"model": agent})
        elif not isinstance(agent, AgentSpec):
            agent = agent.spec()
        options = {"retry": retry, "timeout": timeout, "max_visits": max_visits, "join": join}
        return self._add(
            name, AgentNode, {"agent": agent, "prompt": prompt, "output": output, **options}
        )

    def add_tool(
        self,
        name: str,
        tool: str,
        *,
        args: Mapping[str, JsonValue] | None = None,
        output: str | None = None,
        retry: Retry | None = None,
        timeout: float | str | None = None,
        max_visits: int | None = None,
        join: Join = "all",
    ) -> WorkflowGraph:
        """A tool by name; `args` may hold `{{path}}` from the state."""
        options = {"retry": retry, "timeout": timeout, "max_visits": max_visits, "join": join}
        return self._add(
            name, ToolNode, {"tool": tool, "args": dict(args or {}), "output": output, **options}
        )

    def add_approval(
        self,
        name: str,
        *,
        title: str | None = None,
        detail: str = "",
        show: tuple[str, ...] = (),
        deadline: float | str | None = None,
        otherwise: str = "reject",
        max_visits: int | None = None,
        join: Join = "all",
    ) -> WorkflowGraph:
        """A person decides; edges may be for `approved` and `rejected`."""
        fields = {
            "title": title or f"Approve {name}?",
            "detail": detail,
            "show": show,
            "deadline": deadline,
        }
        options = {"otherwise": otherwise, "max_visits": max_visits, "join": join}
        return self._add(name, ApprovalNode, {**fields, **options})

    def add_edge(self, source: str, target: str) -> WorkflowGraph:
        """From source to target, always. From `START` it sets the entry, to `END` the path ends."""
        if source == START:
            return self.set_entry(target)
        self._edges.append(Edge(source=source, to=target))
        return self

    def add_conditional_edge(self, source: str, routes: Mapping[str, str]) -> WorkflowGraph:
        """From source to the target of its outcome label: `{label: target}`.

        A plain return has the outcome `success`, an error that no retry cured the outcome `failure`.
        """
        if not routes:
            raise InvalidInput(
                "graph.no_routes",
                f"conditional edge from {source} has no routes",
                where=f"nodes.{source}",
            )
        self._edges.extend(
            Edge(source=source, to=target, on=label) for label, target in routes.items()
        )
        return self

    def add_parallel(
        self, source: str, targets: list[str] | tuple[str, ...], join: str | None = None
    ) -> WorkflowGraph:
        """From source to all targets at once, and from each of them to `join`, if given."""
        for target in targets:
            self.add_edge(source, target)
            if join is not None:
                self.add_edge(target, join)
        return self

    def set_entry(self, name: str) -> WorkflowGraph:
        """Where runs begin; without it, at the node added first."""
        if self._entry is not None and self._entry != name:
            raise InvalidInput(
                "graph.two_entries",
                f"the entry is {self._entry} already, now {name} is to be it",
                where="entry",
                fix="begin with one node that leads to both",
            )
        self._entry = name
        return self

    def compile(self) -> Graph:
        """The graph as data, valid.

        Raises:
            InvalidInput: with the first finding.
        """
        if not self._nodes:
            raise InvalidInput(
                "graph.empty",
                f"graph {self.name!r} has no nodes",
                where="nodes",
                fix="add_node(name, fn)",
            )
        schema = self._state_model.model_json_schema() if self._state_model else None
        fields = {
            "name": self.name,
            "entry": self._entry or next(iter(self._nodes)),
            "nodes": self._nodes,
            "edges": tuple(self._edges),
            "reducers": self._reducers,
            "state_schema": schema,
        }
        try:
            return check_graph(Graph.model_validate(fields))
        except ValidationError as error:
            raise InvalidInput.of(problem_of(error, "graph.malformed", "graph")) from None

    def spec(self, *, portable_functions: bool = True) -> Graph:
        """The graph as it travels: every function must be importable by name elsewhere.

        Raises:
            InvalidInput: `function.not_portable` for a lambda, a local or a `__main__` function.
        """
        graph = self.compile()
        if portable_functions:
            for node, (name, function) in self._functions.items():
                portable(function, name, node)
        return graph

    @property
    def functions(self) -> dict[str, Callable[..., object]]:
        """The functions by the names the compiled graph uses."""
        return dict(self._functions.values())

    async def execute(
        self,
        input: Mapping[str, JsonValue] | None = None,
        *,
        run_id: str | None = None,
        log: str | None = None,
        approve: Approver | None = None,
    ) -> RunResult:
        """Run in this process, without a server.

        `log` is a file that makes the run durable: executed again with the same run id, it goes on where it was.
        Without `approve`, the run stops at an approval with the status `waiting`.
        """
        from partsong.local.player import open_player

        async with open_player(self.compile(), self.functions, log=log, approve=approve) as player:
            return await player.execute(dict(input or {}), run_id=run_id)

    async def stream(
        self,
        input: Mapping[str, JsonValue] | None = None,
        *,
        run_id: str | None = None,
        log: str | None = None,
        approve: Approver | None = None,
    ) -> AsyncIterator[Event | Chunk]:
        """Like `execute`, but yields every event and every chunk as it happens. Leaving early cancels the run's calls."""
        from partsong.local.player import open_player

        async with open_player(self.compile(), self.functions, log=log, approve=approve) as player:
            async for item in player.stream(dict(input or {}), run_id=run_id):
                yield item

    def _add(
        self,
        name: str,
        kind: type[FunctionNode | AgentNode | ToolNode | ApprovalNode],
        fields: Mapping[str, object],
    ) -> WorkflowGraph:
        if name in self._nodes:
            raise InvalidInput(
                "graph.duplicate_node", f"node {name!r} is there already", where=f"nodes.{name}"
            )
        self._nodes[name] = self._checked(
            name, kind, {key: value for key, value in fields.items() if value is not None}
        )
        return self

    @staticmethod
    def _checked(name: str, kind: type[_Model], fields: Mapping[str, object]) -> _Model:
        try:
            return kind.model_validate(fields)
        except ValidationError as error:
            raise InvalidInput.of(problem_of(error, "graph.malformed", f"nodes.{name}")) from None
