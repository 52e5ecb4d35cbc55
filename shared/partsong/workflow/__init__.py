"""Write a graph in Python; run it here, or on the bus, unchanged."""

from partsong.contracts.graph import (
    END,
    START,
    AgentNode,
    AgentSpec,
    AtLeast,
    Graph,
    Retry,
    ToolNode,
)
from partsong.contracts.graph.depends import Depends
from partsong.contracts.graph.function_results import (
    Approved,
    Edited,
    Goto,
    NodeContext,
    Overwrite,
    Rejected,
    Route,
)
from partsong.contracts.state.results import RunResult
from partsong.contracts.state.timeline import Checkpoint
from partsong.workflow.builder import WorkflowGraph
from partsong.workflow.scheduler import TaskScheduler
from partsong.workflow.tasks import SchedulerResult, Task, TaskResult

__all__ = [
    "END",
    "START",
    "AgentNode",
    "AgentSpec",
    "Approved",
    "AtLeast",
    "Checkpoint",
    "Depends",
    "Edited",
    "Goto",
    "Graph",
    "NodeContext",
    "Overwrite",
    "Rejected",
    "Retry",
    "Route",
    "RunResult",
    "SchedulerResult",
    "Task",
    "TaskResult",
    "TaskScheduler",
    "ToolNode",
    "WorkflowGraph",
]
