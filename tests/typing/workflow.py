"""What type checkers see of the builder's public names; read by mypy and pyright, not run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import assert_type

from pydantic import BaseModel, JsonValue

from partsong.agents import Agent
from partsong.workflow import (
    END,
    AgentSpec,
    AtLeast,
    Checkpoint,
    Goto,
    Graph,
    NodeContext,
    Overwrite,
    Retry,
    Route,
    RunResult,
    SchedulerResult,
    Task,
    TaskScheduler,
    ToolNode,
    WorkflowGraph,
)


class Paid(BaseModel):
    amount: float


def work(state: dict[str, JsonValue]) -> Route | Goto:
    if state:
        return Route("again", {"log": Overwrite([])})
    return Goto("work", END, update={"n": 1}, private={"why": "empty"})


async def work_slowly(state: dict[str, JsonValue], context: NodeContext) -> dict[str, JsonValue]:
    return {"attempt": context.attempt}


def every_kind_of_node(graph: WorkflowGraph, inner: WorkflowGraph, agent: Agent) -> None:
    made = graph.add_node("a", work, retry=Retry(attempts=2), timeout="30s", idle_timeout=5)
    assert_type(made, WorkflowGraph)
    graph.add_node("b", "shop.steps:work", max_visits=3, join=AtLeast(n=2)).add_node(
        "c", work, join=2
    )
    graph.add_agent("agent", agent, prompt="{{word}}", join="first").add_agent("m", "scripted:echo")
    graph.add_tool("tool", "calculator", args={"expression": "1"}, join={"n": 2})
    graph.add_approval("ok", show=["amount"], otherwise="approve")
    graph.add_wait("rest", seconds="5m").add_wait("till", until=datetime(2030, 1, 1, tzinfo=UTC))
    graph.add_wait("paid", signal="paid", schema=Paid, deadline=60, output="payment")
    graph.add_transform("sum", {"total": "state.a + state.b"})
    assert_type(
        graph.add_subgraph("sub", inner, inputs={"x": "{{y}}"}, outputs={"o": "i"}), WorkflowGraph
    )
    graph.add_subgraph("child", inner.compile(), detached=True, retry=Retry())


def a_map_of_anything(graph: WorkflowGraph, inner: WorkflowGraph, agent: Agent) -> None:
    graph.add_map("f", work, over="items", into="done", on_item_error="collect")
    graph.add_map("g", inner, over="items", into="done", collect="n", max_concurrency=2)
    graph.add_map("h", ToolNode(tool="calculator"), over="items", into="done", timeout=3)
    graph.add_map("i", AgentSpec(model="scripted:echo"), over="items", into="done")
    graph.add_map("j", agent, over="items", into="done", inputs={"tone": "kind"})
    assert_type(graph.add_map("k", "shop.steps:work", over="x", into="y"), WorkflowGraph)


def every_kind_of_edge(graph: WorkflowGraph) -> None:
    graph.add_edge("a", "b", on="success").add_conditional_edge("a", {"again": "a"})
    graph.add_condition("a", [("state.n > 1", "b")], otherwise=END).add_goto("a", ("b", "c"))
    graph.on_error("a", "c").compensate("a", work_slowly).add_parallel("a", ["b", "c"], join="d")
    assert_type(graph.add_loop("a", "b", until="state.done", max_visits=9, then="c"), WorkflowGraph)
    assert_type(graph.compile(), Graph)


async def a_run_and_its_past(graph: WorkflowGraph) -> None:
    assert_type(
        await graph.execute({"n": 1}, signals={"paid": {"amount": 3}}, max_cost=1), RunResult
    )
    assert_type(await graph.retry("r_1", log="runs.jsonl", max_steps=50), RunResult)
    history = await graph.history("r_1", log="runs.jsonl")
    assert_type(history, list[Checkpoint])
    forked = await graph.fork("r_1", history[0].seq, log="runs.jsonl", values={"n": 2})
    assert_type(forked["n"], JsonValue)


async def wrong_calls_are_refused(graph: WorkflowGraph) -> None:
    graph.add_node("a", work, retries=3)  # type: ignore[call-arg]
    graph.add_node("a", work, timeout=[1])  # type: ignore[arg-type]
    graph.add_transform("t", {"n": "1"}, retry=Retry())  # type: ignore[call-arg]
    graph.add_map("m", work, over="items")  # type: ignore[call-arg]
    graph.add_map("m", 7, over="items", into="done")  # type: ignore[arg-type]
    graph.add_approval("ok", otherwise="maybe")  # type: ignore[arg-type]
    WorkflowGraph("t", on_failure="ignore")  # type: ignore[arg-type]
    await graph.retry("r_1")  # type: ignore[call-arg]


async def tasks_and_their_checkpoints(agent: Agent, task: Task) -> None:
    scheduler = TaskScheduler({"a": agent, "b": AgentSpec(model="scripted:echo"), "c": work})
    tasks = [task, Task(id="t", agent=work, depends_on=["u"], timeout="30s", retry=Retry())]
    assert_type(await scheduler.execute_with_checkpointing(tasks), SchedulerResult)
    checkpoints = scheduler.list_checkpoints()
    assert_type(checkpoints, list[Checkpoint])
    result = await scheduler.resume_from_checkpoint(checkpoints[-1])
    assert_type(result["t"], JsonValue)
    await scheduler.execute_task_with_approval(task, "a", require_approval=True)
    async for _event in scheduler.execute_task_stream(task, "a"):
        pass
