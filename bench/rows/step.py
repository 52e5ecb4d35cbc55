"""One durable step: in one process, across processes, and what durability adds to nodes that work."""

from __future__ import annotations

import statistics

from pydantic import JsonValue

from bench.across import players
from bench.row import Context, Row
from bench.work import chain
from partsong.client import Client
from partsong.runtime.clock import monotonic
from partsong.workflow import RunResult, WorkflowGraph

__all__ = ["measure"]

_STEPS = 100


async def measure(context: Context) -> list[Row]:
    """Milliseconds per step of 100 nodes in a row, and the overhead on nodes of 20 ms."""
    rounds = context.size(10, 3)
    durable = await _local(context, "durable", rounds)
    memory = await _local(context, None, rounds)
    return [
        context.promised("step.one_process", statistics.median(durable), note=_note(durable)),
        context.figure(
            "step.one_process_memory",
            "the same on a memory log: what the engine and the executor take",
            statistics.median(memory),
            "ms",
            note=_note(memory),
        ),
        await _across(context, "step.across", rounds, fast=False),
        await _across(context, "step.across_fast", rounds, fast=True),
        await _overhead(context),
        await _wide(context),
    ]


async def _local(context: Context, name: str | None, rounds: int) -> list[float]:
    graph = chain(_STEPS)
    log = str(context.folder / name) if name else None
    await _executed(graph, log and f"{log}-warm")
    return sorted(
        [await _executed(graph, log and f"{log}-{index}") / _STEPS for index in range(rounds)]
    )


async def _executed(graph: WorkflowGraph, log: str | None) -> float:
    """Milliseconds of one run in this process."""
    start = monotonic()
    _completed(await graph.execute({}, log=log))
    return (monotonic() - start) * 1000


async def _across(context: Context, bar: str, rounds: int, *, fast: bool) -> Row:
    async with players(context.folder / bar, fast=fast) as (_, client):
        graph = chain(_STEPS)
        await _on_bus(client, graph)
        took = sorted([await _on_bus(client, graph) / _STEPS for _ in range(rounds)])
    return context.promised(bar, statistics.median(took), note=_note(took))


async def _on_bus(client: Client, graph: WorkflowGraph) -> float:
    """Milliseconds of one run from its request to its result."""
    start = monotonic()
    run_id = await client.start(graph)
    _completed(await client.result(run_id, timeout=120))
    return (monotonic() - start) * 1000


async def _wide(context: Context) -> Row:
    """A map whose hints wait in the queue: whatever a worker asks for each of them, it asks a thousand times."""
    width = context.size(1000, 300)
    inner: JsonValue = {
        "name": "item",
        "nodes": {"step": {"type": "function", "function": "bench.work:step"}},
    }
    each: JsonValue = {"type": "map", "graph": inner, "over": "items", "into": "out", "inputs": {}}
    wide: dict[str, JsonValue] = {"name": "wide", "nodes": {"each": each}}
    took: list[float] = []
    async with players(context.folder / "wide") as (_, client):
        for _ in range(context.size(3, 1)):
            start = monotonic()
            run_id = await client.start(wide, {"items": list(range(width))})
            _completed(await client.result(run_id, timeout=300))
            took.append(monotonic() - start)
    return context.figure(
        "step.wide",
        f"fan-out over {width:,} items and back, across engine and tool-runner processes",
        statistics.median(took),
        "s",
        note=f"{len(took)} runs, {min(took):.2f} to {max(took):.2f} s, the first {took[0]:.2f} s",
    )


async def _overhead(context: Context) -> Row:
    """Durable against memory, in turns, so that a change in the machine's load meets both."""
    graph = chain(context.size(50, 10), pause=True)
    pairs = [
        (
            await _executed(graph, str(context.folder / f"slow-{index}")),
            await _executed(graph, None),
        )
        for index in range(context.size(5, 2))
    ]
    durable, memory = (statistics.median(took) for took in zip(*pairs, strict=True))
    return context.promised(
        "checkpoint.overhead",
        (durable / memory - 1) * 100,
        note=f"{durable:.0f} ms against {memory:.0f} ms",
    )


def _completed(result: RunResult) -> None:
    if result.status != "completed":
        raise RuntimeError(f"run {result.run_id} is {result.status}: {result.error}")


def _note(took: list[float]) -> str:
    return f"{len(took)} runs, {took[0]:.2f} to {took[-1]:.2f} ms"
