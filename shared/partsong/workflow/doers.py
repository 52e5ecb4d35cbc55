"""`Doers`: the agents and functions of a scheduler, and who of them does which task."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping

from partsong.contracts.errors import InvalidInput, NotFound
from partsong.contracts.graph import (
    AgentNode,
    AgentSpec,
    FunctionNode,
    Graph,
    Node,
    SubgraphNode,
)
from partsong.engine.local.equipped import Equipped
from partsong.workflow.nodes import Specified
from partsong.workflow.reference import is_portable
from partsong.workflow.task_functions import answering, name_of
from partsong.workflow.task_graph import APPROVAL, Doer
from partsong.workflow.tasks import Task

__all__ = ["AgentLike", "Doers"]

AgentLike = AgentSpec | Specified | str | Callable[..., object]
"""An agent as data, as an object or just as `provider:model`; or a function."""


class Doers:
    """Agents by name, and the functions that tasks of this process name themselves."""

    def __init__(self, agents: Mapping[str, AgentLike]) -> None:
        """Check the names.

        Raises:
            InvalidInput: `agent.bad_name`.
        """
        self._agents = dict(agents)
        self._answering: dict[Callable[..., object], Callable[..., object]] = {}
        self._functions: dict[str, Callable[..., object]] = {}
        """By the names that graphs use."""
        for name in self._agents:
            if name == APPROVAL or not name.replace("-", "_").isidentifier():
                raise InvalidInput(
                    "agent.bad_name",
                    f"{name!r} is no name for an agent",
                    where="agents",
                    fix=f"give it one of letters, digits, _ and -, but not {APPROVAL}",
                )

    def of(self, task: Task) -> Doer:
        """Who does a task.

        Raises:
            InvalidInput: `task.unknown_agent`; `function.bad_signature`.
        """
        who = task.agent
        if callable(who):
            return Doer(name_of(who), self._answerer(who))
        if who is None and len(self._agents) == 1:
            who = next(iter(self._agents))
        agent = self._agents.get(who) if who is not None else None
        if who is None or agent is None:
            raise self._nobody(task, who)
        if isinstance(agent, AgentSpec | Specified | str):
            return Doer(who, agent)
        return Doer(who, self._answerer(agent))

    def learn(self, functions: Mapping[str, Callable[..., object]]) -> None:
        """Remember the functions of a graph by the names that it uses."""
        self._functions.update(functions)

    def functions_of(self, graph: Graph) -> dict[str, Callable[..., object]]:
        """The functions of a graph of tasks, which another process may have made.

        Raises:
            NotFound: `task.unknown_agent`, `function.not_found`.
        """
        return {
            node.function: self._function(name, node.function)
            for name, node in _inside(graph)
            if isinstance(node, FunctionNode)
        }

    def equipped(self, graph: Graph) -> dict[str, Equipped]:
        """The agents of a graph of tasks that bring their own keys and tools."""
        found: dict[str, Equipped] = {}
        for name, node in _inside(graph):
            agent = self._agents.get(name)
            if isinstance(node, AgentNode) and isinstance(agent, Equipped):
                found[name] = agent
        return found

    def _function(self, name: str, reference: str) -> Callable[..., object]:
        if reference in self._functions:
            return self._functions[reference]
        agent = self._agents.get(name)
        if agent is not None and not isinstance(agent, AgentSpec | Specified | str):
            return self._answerer(agent)
        module, _, qualname = reference.partition(":")
        if not is_portable(reference) or "." in qualname:  # a method would lack its object
            raise NotFound(
                "task.unknown_agent",
                f"the run calls {name} ({reference}), and this scheduler has no such function",
                where="agents",
                fix=f"give it to the scheduler: agents={{{name!r}: …}}",
            )
        from partsong.execution.functions import Functions

        return self._answerer(Functions([module]).get(reference).function)

    def _answerer(self, function: Callable[..., object]) -> Callable[..., object]:
        if function not in self._answering:
            self._answering[function] = answering(function)
        return self._answering[function]

    def _nobody(self, task: Task, who: str | None) -> InvalidInput:
        close = difflib.get_close_matches(who or "", self._agents, n=1)
        there = ", ".join(self._agents) or "none"
        return InvalidInput(
            "task.unknown_agent",
            f"{task.id} is for {who!r}, and there is no such agent"
            if who is not None
            else f"{task.id} does not say who does it",
            where=f"tasks.{task.id}.agent",
            fix=f"did you mean {close[0]}?" if close else f"agents are: {there}",
        )


def _inside(graph: Graph) -> Iterator[tuple[str, Node]]:
    """The nodes inside tasks, with their names."""
    for node in graph.nodes.values():
        if isinstance(node, SubgraphNode):
            yield from node.graph.nodes.items()
