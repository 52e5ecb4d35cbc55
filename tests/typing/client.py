"""What type checkers see of the client's public names; read by mypy and pyright, not run."""

from __future__ import annotations

from typing import assert_type

from pydantic import JsonValue

from partsong.client import (
    Change,
    Checkpoint,
    Client,
    Comparison,
    Origin,
    Replay,
    RunResult,
    RunSummary,
)
from partsong.contracts.events import NodeCompleted
from partsong.contracts.graph import Graph
from partsong.contracts.state.state import RunState
from partsong.contracts.talk.chunks import Text
from partsong.workflow import WorkflowGraph


async def a_run_from_start_to_replay(client: Client) -> None:
    run_id = await client.start("triage", {"amount": 21, "notes": ["a"]}, labels={"who": "ann"})
    assert_type(run_id, str)
    result = await client.result(run_id, timeout=5)
    assert_type(result, RunResult)
    assert_type(result["answer"], JsonValue)
    assert_type(result.raise_for_status(), RunResult)
    assert_type(await client.state(run_id, at=7), RunState)
    assert_type(await client.replay(run_id), Replay)
    assert_type(await client.runs(status="failed"), list[RunSummary])


async def a_graph_may_be_anything_that_is_one(client: Client, graph: Graph) -> None:
    await client.start(graph)
    await client.start(WorkflowGraph("mine"))
    await client.start({"name": "one", "nodes": {"a": {"type": "tool", "tool": "calculator"}}})


async def a_graph_is_known_by_its_name(client: Client) -> None:
    assert_type(await client.graph("triage"), Graph)


async def chunks_and_events_are_told_apart_by_their_type(client: Client, run_id: str) -> None:
    async for chunk in client.stream(run_id):
        if chunk.kind == "text":
            assert_type(chunk, Text)
    async for placed in client.events(run_id, follow=True):
        if placed.event.type == "node.completed":
            assert_type(placed.event, NodeCompleted)


async def a_run_and_its_past(client: Client, run_id: str) -> None:
    history = await client.history(run_id)
    assert_type(history, list[Checkpoint])
    assert_type(await client.diff(run_id, history[0].seq, 7), list[Change])
    fork = await client.fork(run_id, 7, values={"amount": 1}, outputs={"a:1": {"b": [2]}})
    assert_type(fork, str)
    assert_type(await client.compare(run_id, fork), Comparison)
    assert_type(await client.lineage(fork), list[Origin])
    assert_type(await client.forks(run_id), list[RunSummary])


async def what_can_be_asked_of_a_run(client: Client, run_id: str, graph: Graph) -> None:
    await client.start(graph, thread="talk", on_busy="reject", max_cost=0.5, webhook="https://me")
    await client.pause(run_id, "lunch")
    await client.resume(run_id)
    await client.signal(run_id, "paid", {"sum": 3}, signal_id="payment-7")
    await client.retry(run_id, graph=WorkflowGraph("mended"), max_steps=50, reason="mended")
    await client.schedule("morning", graph, cron="0 30 9 * * mon-fri", overlap="enqueue")


async def wrong_calls_are_refused(client: Client) -> None:
    await client.start(7)  # type: ignore[arg-type]
    await client.cancel(run_id=None)  # type: ignore[arg-type]
    await client.start("triage", on_busy="wait")  # type: ignore[arg-type]
    await client.fork("r_1", "7")  # type: ignore[arg-type]
    client.result("r_1")["answer"]  # type: ignore[index]
