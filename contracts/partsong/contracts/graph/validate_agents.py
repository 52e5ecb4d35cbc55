"""What makes agent nodes valid: their tools' names, where they hand over to, and the conversation they go on with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import AgentNode, Graph
from partsong.contracts.graph.conform import check_schema
from partsong.contracts.graph.nodes import ANSWER, HANDOFF
from partsong.contracts.graph.plan import Plan
from partsong.contracts.graph.provider_options import option_findings
from partsong.contracts.graph.templates import stray_hole

__all__ = ["agent_findings"]


def agent_findings(name: str, node: AgentNode, graph: Graph, plan: Plan) -> Iterator[Problem]:
    """All that is wrong with an agent node, the graphs it calls apart."""
    where = f"nodes.{name}"
    agent = node.agent
    if agent.output_schema is not None:
        yield from _schema(agent.output_schema, f"{where}.agent.output_schema")
    stray = stray_hole(agent.instructions, f"{where}.agent.instructions", "agent.unknown_variable")
    if stray is not None:
        yield stray
    models = (agent.model, *agent.fallbacks)
    place = f"{where}.agent.provider_options"
    yield from option_findings(agent.provider_options, models, place)
    for tool, inner in node.graphs.items():
        yield from _schema(inner.parameters, f"{where}.graphs.{tool}.parameters")
    yield from _names(node, where)
    for label in agent.handoffs:
        if label not in plan.labels[name]:
            yield Problem(
                code="graph.handoff_nowhere",
                message=f"agent node {name} may hand over by {label!r}, and no edge is for that",
                where=f"{where}.agent.handoffs.{label}",
                fix=f"add an edge from {name} with the label {label!r}",
            )
    if node.history is not None and graph.reducers.get(node.history) != "messages":
        yield Problem(
            code="graph.history_reducer",
            message=f"agent node {name} goes on with the conversation {node.history!r}, whose reducer is "
            f"{graph.reducers.get(node.history, 'replace')}",
            where=f"{where}.history",
            fix=f"give it the reducer messages: reducers: {{{node.history}: messages}}",
        )


def _schema(schema: Mapping[str, JsonValue], where: str) -> Iterator[Problem]:
    try:
        check_schema(schema, where)
    except InvalidInput as error:
        yield error.problem


def _names(node: AgentNode, where: str) -> Iterator[Problem]:
    """A model tells tools apart by name, whoever answers them."""
    handoffs = [f"{HANDOFF}{label}" for label in node.agent.handoffs]
    answer = [] if node.agent.output_schema is None else [ANSWER]
    counts = Counter([*node.agent.tools, *node.graphs, *handoffs, *answer])
    for twice in (name for name, count in counts.items() if count > 1):
        yield Problem(
            code="graph.tool_twice",
            message=f"the model would be offered {counts[twice]} tools called {twice}",
            where=where,
            fix="give the tool, the graph or the handoff another name",
        )
