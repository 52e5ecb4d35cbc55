"""Bytes on disk per step: what JetStream's store grows by when runs write 1 KB in each step."""

from __future__ import annotations

import os
from pathlib import Path

from bench.across import players
from bench.row import Context, Row
from bench.work import ROUNDS, loop
from partsong.client import Client
from partsong.workflow import WorkflowGraph

__all__ = ["measure"]

_LONGEST = 300.0


async def measure(context: Context) -> list[Row]:
    """1 KB replaced in 100 and in 1,000 steps, 1 KB appended in 1,000; each run on a store of its own."""
    short, long = context.size(100, 50), context.size(1000, 200)
    return [
        await _grown(context, "disk.short", loop(), short),
        await _grown(context, "disk.long", loop(), long),
        await _grown(context, "disk.append_long", loop(growing=True), long),
    ]


async def _grown(context: Context, bar: str, graph: WorkflowGraph, steps: int) -> Row:
    """Every byte counts that the run adds, graph, headers and hints included."""
    folder = context.folder / bar
    async with players(folder) as (_, client):
        await _run(client, graph, 1)
        before = _allocated(folder / "nats")
        await _run(client, graph, steps)
        after = _allocated(folder / "nats")
    return context.promised(bar, (after - before) / steps / 1024, note=f"{steps} steps")


async def _run(client: Client, graph: WorkflowGraph, steps: int) -> None:
    run_id = await client.start(graph, {ROUNDS: steps})
    result = await client.result(run_id, timeout=_LONGEST)
    if result.status != "completed":
        raise RuntimeError(f"run {run_id} is {result.status}: {result.error}")


def _allocated(folder: Path) -> int:
    """Bytes of all files in the store, once the kernel has written them."""
    os.sync()
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
