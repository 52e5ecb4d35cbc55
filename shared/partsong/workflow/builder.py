"""`WorkflowGraph`: the Python builder of a graph."""

from __future__ import annotations

from partsong.workflow.edges import Edges
from partsong.workflow.nodes import Nodes
from partsong.workflow.running import Running

__all__ = ["WorkflowGraph"]


class WorkflowGraph(Nodes, Edges, Running):
    """A graph under construction; nodes keep the order in which they are added.

    Without a `name` it is called `graph-` and ten digits of the hash of its content, so that no two graphs that differ
    share one. The builder only collects; `compile` says what is wrong, and `execute`, `stream` and `Client.start` compile first.
    `state_model` is a pydantic model, or a JSON Schema: a key that is written is checked against it. `on_failure` is
    what the failure of a node without an error edge does to the others: ends them, or lets them finish first.
    """
