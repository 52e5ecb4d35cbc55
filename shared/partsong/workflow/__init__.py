"""Write a graph in Python; run it here, or on the bus, unchanged."""

from partsong.contracts.graph import END, START, AgentSpec, Retry
from partsong.contracts.results import RunResult
from partsong.contracts.routing import NodeContext, Route
from partsong.workflow.builder import WorkflowGraph

__all__ = [
    "END",
    "START",
    "AgentSpec",
    "NodeContext",
    "Retry",
    "Route",
    "RunResult",
    "WorkflowGraph",
]
