"""What the soak's graphs do: functions and a tool that write each of their effects down, and graphs of every construct."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pydantic import JsonValue

from partsong.tools import tool
from partsong.workflow import AgentSpec, NodeContext, Route, WorkflowGraph
from tests.faults.slow import write

__all__ = ["GRAPHS"]

State = dict[str, JsonValue]

_HALF = 0.02


async def step(state: State, context: NodeContext) -> State:
    await asyncio.sleep(_HALF)
    write(str(state["file"]), "step", context.idempotency_key)
    await asyncio.sleep(_HALF)
    return {"last": context.idempotency_key}


async def again(state: State, context: NodeContext) -> Route:
    write(str(state["file"]), "step", context.idempotency_key)
    n = int(str(state.get("n", 0))) + 1
    return Route("more" if n < 4 else "enough", {"n": n})


@tool
async def pay(file: str, order: str) -> str:
    """Pay for an order, which must not happen twice."""
    await asyncio.sleep(_HALF)
    write(file, "pay", order)
    await asyncio.sleep(_HALF)
    return order


def _effects() -> WorkflowGraph:
    """Branches side by side, and an agent."""
    graph = WorkflowGraph("soak-effects").add_node("begin", step).add_node("left", step)
    graph.add_node("right", step).add_node("join", step).add_node("end", step)
    graph.add_agent("agent", AgentSpec(model="scripted:echo"), prompt="sum it up", output="said")
    graph.add_parallel("begin", ["left", "right"], join="join")
    return graph.add_edge("join", "agent").add_edge("agent", "end")


def _pays() -> WorkflowGraph:
    graph = WorkflowGraph("soak-pays").add_node("before", step)
    graph.add_tool("pay", "pay", args={"file": "{{file}}", "order": "{{order}}"}, output="paid")
    return graph.add_node("after", step).add_edge("before", "pay").add_edge("pay", "after")


def _waits() -> WorkflowGraph:
    graph = WorkflowGraph("soak-waits").add_node("before", step)
    graph.add_wait("timer", seconds=1.5).add_wait("gate", signal="go", output="word")
    graph.add_node("after", step)
    return graph.add_edge("before", "timer").add_edge("timer", "gate").add_edge("gate", "after")


def _asks() -> WorkflowGraph:
    graph = WorkflowGraph("soak-asks").add_approval("ok", title="Go on with {{order}}?")
    graph.add_node("after", step)
    return graph.add_conditional_edge("ok", {"approved": "after", "rejected": "END"})


def _loops() -> WorkflowGraph:
    graph = (
        WorkflowGraph("soak-loops").add_node("again", again, max_visits=10).add_node("end", step)
    )
    return graph.add_conditional_edge("again", {"more": "again", "enough": "end"})


def _inner() -> WorkflowGraph:
    return WorkflowGraph("soak-inner").add_node("inner", step)


def _children() -> WorkflowGraph:
    graph = WorkflowGraph("soak-children").add_node("before", step)
    graph.add_subgraph("child", _inner(), detached=True)
    return graph.add_edge("before", "child")


def _maps() -> WorkflowGraph:
    graph = WorkflowGraph("soak-maps").add_node("before", step)
    graph.add_map("each", step, over="items", into="done", max_concurrency=4)
    return graph.add_edge("before", "each")


GRAPHS: dict[str, Callable[[], WorkflowGraph]] = {
    "effects": _effects,
    "pays": _pays,
    "waits": _waits,
    "asks": _asks,
    "loops": _loops,
    "children": _children,
    "maps": _maps,
}
