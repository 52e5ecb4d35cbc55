"""The graph and its functions; a tool-runner loads this module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from partsong.workflow import AgentSpec, NodeContext, WorkflowGraph

__all__ = ["report"]

Json = dict[str, Any]


def gather(_state: Json, context: NodeContext) -> Json:
    """Ask the shop for its numbers; here they follow from the run's name, so that a repeated call finds the same."""
    seed = sum(context.run_id.encode())
    return {"orders": 40 + seed % 17, "returned": seed % 5}


def write(state: Json, context: NodeContext) -> Json:
    """Add the report, unless it is there already: a call may be repeated after a crash."""
    file, title = Path(str(state["file"])), f"## {context.run_id}"
    kept = file.read_text("utf-8") if file.exists() else ""
    if title not in kept:
        line = f"{state['orders']} orders, {state['returned']} returned. {state['remark']}"
        file.write_text(f"{kept}{title}\n\n{line}\n\n", "utf-8")
    return {"written": str(file)}


def report(model: str) -> WorkflowGraph:
    """gather → remark → write."""
    graph = WorkflowGraph("report").add_node("gather", gather)
    analyst = AgentSpec(model=model, instructions="Say in one sentence what stands out.")
    graph.add_agent("remark", analyst, prompt="{{orders}} orders, {{returned}} returned")
    graph.add_node("write", write)
    return graph.add_edge("gather", "remark").add_edge("remark", "write")
