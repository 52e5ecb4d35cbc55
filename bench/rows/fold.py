"""Reading a long run: its fold from the log, and its state at a step in the middle."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable

from bench.across import players
from bench.row import Context, Row
from bench.work import ROUNDS, loop
from partsong.log.snapshots.folded import fold_to
from partsong.log.snapshots.memory import NoSnapshots
from partsong.runtime.clock import monotonic

__all__ = ["measure"]

_EVENTS_PER_STEP = 4
"""Scheduled, requested, closed, completed."""


async def measure(context: Context) -> list[Row]:
    """A run of about 1,000 events in JetStream, read again and again."""
    steps = context.size(1000, 200) // _EVENTS_PER_STEP
    async with players(context.folder / "up") as (_, client):
        run_id = await client.start(loop(), {ROUNDS: steps})
        result = await client.result(run_id, timeout=120)
        placed = [found.seq async for found in client.events(run_id)]
        middle = placed[len(placed) // 2]
        log, subjects = client.log, client.subjects
        whole = await _timed(lambda: fold_to(log, subjects, run_id, NoSnapshots()))
        part = await _timed(lambda: client.state(run_id, at=middle))
    if result.status != "completed":
        raise RuntimeError(f"run {run_id} is {result.status}: {result.error}")
    note = f"{len(placed)} events of 1 KB per step"
    return [
        context.promised("fold.run", whole, note=note),
        context.promised("fold.state_at", part, note=f"{note}, at the middle"),
    ]


async def _timed(read: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds, the median of eleven after one that warms up."""
    await read()
    took: list[float] = []
    for _ in range(11):
        start = monotonic()
        await read()
        took.append((monotonic() - start) * 1000)
    return statistics.median(took)
