"""Starting on a long log that is not ours yet: its first start reads all of it once, the second one does not.

A GiB by default; `BENCH_GIB=10 make bench BENCH="--only start"` for what a year may leave behind (35 GiB of disk are
free then, and six minutes).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import nats

from bench.across import PLAYERS
from bench.row import Context, Row
from partsong.cli.platform import Platform
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.clock import monotonic
from partsong.runtime.nats.server import start_embedded

__all__ = ["measure"]

_GIB = float(os.environ.get("BENCH_GIB", "1"))
_SMALL, _LARGE, _EVERY = 900, 250_000, 25
"""Bytes of most reports and of every 25th: about what runs of agents leave."""
_AT_ONCE = 500


async def measure(context: Context) -> list[Row]:
    """Fill a log with reports that no engine has seen, then start a platform on it twice."""
    gib = min(_GIB, 0.25) if context.quick else _GIB
    data = context.folder / "data"
    await _started(data)
    records = await _fill(data / "nats", int(gib * 1024**3))
    first, again = await _started(data), await _started(data)
    note = f"{records:,} records"
    return [
        context.figure(
            "start.first",
            f"all services ready on a foreign log of {gib:g} GiB",
            first,
            "s",
            note=note,
        ),
        context.figure("start.again", "the same log, started again", again, "s", note=note),
    ]


async def _started(data: Path) -> float:
    """Seconds until all services are ready."""
    platform = Platform(data, env=os.environ, fast=True, roles=PLAYERS)
    start = monotonic()
    try:
        await platform.start()
        return monotonic() - start
    finally:
        await platform.stop()


async def _fill(folder: Path, size: int) -> int:
    """Append reports until they have this many bytes; how many there are."""
    count, left, subjects = 0, size, Subjects()
    async with start_embedded(folder, fast=True) as server:
        nc = await nats.connect(server.url)
        js = nc.jetstream(publish_async_max_pending=2 * _AT_ONCE)
        while left > 0:
            asked = []
            for _ in range(_AT_ONCE):
                body = os.urandom(_SMALL if count % _EVERY else _LARGE)
                asked.append(await js.publish_async(subjects.fact(f"old-{count}"), body))
                count, left = count + 1, left - len(body)
            await asyncio.gather(*asked)
        await nc.close()
    return count
