"""A graph written anew with the builder, call by call: what the builder gives can be compared with the data."""

from __future__ import annotations

from typing import assert_never

from partsong.contracts.graph import (
    AgentNode,
    ApprovalNode,
    AtLeast,
    Edge,
    FunctionNode,
    Graph,
    MapNode,
    Node,
    SubgraphNode,
    ToolNode,
    TransformNode,
    WaitNode,
)
from partsong.workflow import START, WorkflowGraph
from partsong.workflow.options import Calling, Placing

__all__ = ["rebuilt"]


def rebuilt(graph: Graph) -> WorkflowGraph:
    """The same graph, by the builder's methods; its edges come node by node, conditions last."""
    made = WorkflowGraph(
        graph.name,
        reducers=graph.reducers,
        state_model=graph.state_schema,
        on_failure=graph.on_failure,
    )
    for name, node in graph.nodes.items():
        _add(made, name, node)
        if node.compensate is not None:
            made.compensate(name, node.compensate)
    made.add_edge(START, graph.entry)
    for source in graph.nodes:
        _connect(made, source, [edge for edge in graph.edges if edge.source == source])
    return made


def _placing(node: Node) -> Placing:
    join = node.join.n if isinstance(node.join, AtLeast) else node.join
    return {"max_visits": node.max_visits, "join": join}


def _calling(node: Node) -> Calling:
    return {
        **_placing(node),
        "retry": node.retry,
        "timeout": node.timeout,
        "idle_timeout": node.idle_timeout,
    }


def _add(made: WorkflowGraph, name: str, node: Node) -> None:
    match node:
        case FunctionNode(function=function):
            made.add_node(name, function, **_calling(node))
        case AgentNode(agent=agent, prompt=prompt, output=output):
            made.add_agent(name, agent, prompt=prompt, output=output, **_calling(node))
        case ToolNode(tool=tool, args=args, output=output):
            made.add_tool(name, tool, args=args, output=output, **_calling(node))
        case ApprovalNode():
            made.add_approval(
                name,
                title=node.title,
                detail=node.detail,
                show=node.show,
                editable=node.editable,
                edit_schema=node.edit_schema,
                deadline=node.deadline,
                otherwise=node.otherwise,
                **_placing(node),
            )
        case WaitNode():
            made.add_wait(
                name,
                seconds=node.seconds,
                until=node.until,
                signal=node.signal,
                deadline=node.deadline,
                schema=node.signal_schema,
                output=node.output,
                **_placing(node),
            )
        case TransformNode(set=keys):
            made.add_transform(name, keys, **_placing(node))
        case SubgraphNode():
            made.add_subgraph(
                name,
                rebuilt(node.graph),
                inputs=node.inputs,
                outputs=node.outputs,
                detached=node.detached,
                retry=node.retry,
                **_placing(node),
            )
        case MapNode():
            made.add_map(
                name,
                rebuilt(node.graph),
                over=node.over,
                into=node.into,
                collect=node.collect,
                inputs=node.inputs,
                max_concurrency=node.max_concurrency,
                on_item_error=node.on_item_error,
                **_placing(node),
            )
        case _:
            assert_never(node)


def _connect(made: WorkflowGraph, source: str, edges: list[Edge]) -> None:
    """The edges that leave a node; the builder keeps a condition's `else` behind it."""
    for edge in edges:
        if edge.plain:
            made.add_parallel(source, [edge.to])
        elif edge.goto:
            made.add_goto(source, [edge.to])
        elif edge.on == "failure":
            made.on_error(source, edge.to)
        elif edge.on is not None:
            made.add_conditional_edge(source, {edge.on: edge.to})
    conditions = [(edge.when, edge.to) for edge in edges if edge.when is not None]
    otherwise = next((edge.to for edge in edges if edge.otherwise), None)
    if conditions:
        made.add_condition(source, conditions, otherwise=otherwise)
