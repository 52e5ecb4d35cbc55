"""A graph is data: nodes, edges and reducers, frozen, content-hashed, valid before it runs."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from partsong.contracts.graph.nodes import (
    AgentSpec,
    ApprovalNode,
    FunctionNode,
    NodeBase,
    NodeName,
    SpecBase,
    ToolNode,
    TransformNode,
    WaitNode,
)

__all__ = [
    "END",
    "START",
    "AgentNode",
    "Edge",
    "Graph",
    "GraphTool",
    "MapNode",
    "Node",
    "ReducerName",
    "SubgraphNode",
    "ToolName",
    "graphs_in",
]

START = "START"
"""Source of an edge that marks the entry node."""
END = "END"
"""Target of an edge that leads nowhere: the path ends here."""

ReducerName = Literal["replace", "append", "merge", "add", "min", "max", "union", "messages"]


ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{1,64}$")]


class GraphTool(SpecBase):
    """A graph, perhaps one with a single agent in it, that a model may call like a tool."""

    graph: Graph
    description: str
    """What it is for, as the model reads it."""
    parameters: dict[str, JsonValue] = Field(default_factory=lambda: dict(_TASK))
    """JSON Schema of the arguments; the graph begins with them as its state."""
    result: str | None = None
    """Key of the inner state that is the result; without it, all that the graph wrote."""


_TASK: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "input": {"type": "string", "description": "The task, with all that is needed for it."}
    },
    "required": ["input"],
}


class AgentNode(NodeBase):
    """A model with instructions and tools; its loop is driven by the engine, one event per turn and tool call."""

    type: Literal["agent"] = "agent"
    agent: AgentSpec
    prompt: str = "{{input}}"
    """What the agent is asked; `{{path.to.key}}` is taken from the state."""
    output: str | None = None
    """State key of the answer; default: the node's name."""
    history: str | None = None
    """State key, reduced as `messages`, of a conversation that this one goes on with and adds to."""
    graphs: dict[ToolName, GraphTool] = Field(default_factory=dict)
    """Graphs that the model may call like tools; each call runs in a scope of its own."""


class SubgraphNode(NodeBase):
    """A whole graph as one node, with a namespace of its own in the log.

    Without `inputs` it begins with all that the node sees; without `outputs` everything it wrote goes through this
    graph's reducers. With them, only what they name crosses the border.
    """

    type: Literal["subgraph"] = "subgraph"
    graph: Graph
    inputs: dict[str, JsonValue] | None = None
    """Key of the inner state: value, which may hold `{{path}}` of the outer state."""
    outputs: dict[str, str] | None = None
    """Key of the outer state: key of the inner state."""
    detached: bool = False
    """Run it as a run of its own, with its own log; the node ends when that run does."""


class MapNode(NodeBase):
    """One inner run per item of a list, at most `max_concurrency` at a time; results come in the items' order.

    Each begins with what the node sees, and with `item` and `index`; its functions are handed neither the list nor
    `into`, unless `inputs` asks for them.
    """

    type: Literal["map"] = "map"
    graph: Graph
    over: str
    """Path of the list in the state."""
    into: str
    """Key that gets the list of results."""
    collect: str | None = None
    """Key of the inner state that is an item's result; without it, the result is all that the item wrote."""
    inputs: dict[str, JsonValue] | None = None
    """With it, an item sees only this, `item` and `index`."""
    max_concurrency: int | None = Field(default=None, ge=1)
    on_item_error: Literal["fail_fast", "continue", "collect"] = "fail_fast"
    """`fail_fast`: the node fails at once. `continue`: the others finish, then it fails. `collect`: the item's result is
    `{"error": …}`."""


Node = Annotated[
    FunctionNode
    | AgentNode
    | ToolNode
    | ApprovalNode
    | SubgraphNode
    | MapNode
    | WaitNode
    | TransformNode,
    Field(discriminator="type"),
]


def graphs_in(node: Node) -> dict[str, Graph]:
    """The graphs inside a node, by where they are in it."""
    match node:
        case SubgraphNode(graph=graph) | MapNode(graph=graph):
            return {"graph": graph}
        case AgentNode(graphs=graphs):
            return {f"graphs.{name}.graph": tool.graph for name, tool in graphs.items()}
        case _:
            return {}


class Edge(SpecBase):
    """From one node to another: always, for one outcome label, under a condition, or when the node names its target."""

    source: str = Field(validation_alias="from", serialization_alias="from")
    to: str
    on: str | None = None
    """Outcome label that takes this edge. `success` is a plain return, `failure` an error that no retry cured."""
    when: str | None = None
    """CEL over `state`. A node's conditions are asked in order; the first true one is taken."""
    otherwise: bool = Field(default=False, validation_alias="else", serialization_alias="else")
    """Taken if none of the node's conditions is true."""
    goto: bool = False
    """Taken only if the node returns `Goto(target)`."""

    @property
    def plain(self) -> bool:
        """Whether it is taken whenever the node ends well."""
        return self.on is None and self.when is None and not self.otherwise and not self.goto


class Graph(SpecBase):
    """The whole workflow. Two graphs with equal content have equal hashes."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_\-]*$", max_length=100)
    entry: str
    nodes: dict[NodeName, Node] = Field(min_length=1)
    edges: tuple[Edge, ...] = ()
    reducers: dict[str, ReducerName] = Field(default_factory=dict)
    state_schema: dict[str, JsonValue] | None = None
    """JSON Schema of the state. A key is checked whenever it is written."""
    memory: tuple[str, ...] = ()
    """Keys of the state that a thread's next run begins with: its conversation, say."""
    on_failure: Literal["fail_fast", "continue"] = "fail_fast"
    """What the failure of a node without a failure edge does to the others: ends them, or lets them finish first."""

    @cached_property
    def hash(self) -> str:
        """`sha256:…` of the canonical JSON: the graph's identity."""
        text = json.dumps(self.spec(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def spec(self) -> dict[str, JsonValue]:
        """The graph as plain JSON, without what is default."""
        data: dict[str, JsonValue] = self.model_dump(
            mode="json", by_alias=True, exclude_defaults=True, exclude={"nodes"}
        )
        data["nodes"] = {name: _node_spec(node) for name, node in self.nodes.items()}
        return data


def _node_spec(node: Node) -> dict[str, JsonValue]:
    data = _plain(node, {"graph", "graphs"})
    data["type"] = node.type  # a discriminator is a default, and defaults are left out
    if isinstance(node, SubgraphNode | MapNode):
        data["graph"] = node.graph.spec()
    if isinstance(node, AgentNode) and node.graphs:
        data["graphs"] = {
            name: {**_plain(tool, {"graph"}), "graph": tool.graph.spec()}
            for name, tool in node.graphs.items()
        }
    return data


def _plain(part: SpecBase, without: set[str]) -> dict[str, JsonValue]:
    """A part of a graph as plain JSON, without what is default and the graphs in it."""
    data: dict[str, JsonValue] = part.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, exclude=without
    )
    return data
