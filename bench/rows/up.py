"""Starting: `partsong up` to the first finished run, and `partsong --help`."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
from pathlib import Path

from bench.row import Context, Row
from bench.work import chain
from partsong.client import Client
from partsong.runtime.clock import monotonic

__all__ = ["measure"]

_COMMAND = (sys.executable, "-m", "partsong.cli.main")
_LONGEST = 60.0


async def measure(context: Context) -> list[Row]:
    """Both as a person meets them: a new process in an empty directory."""
    started = [await _up(context.folder / f"up-{n}") for n in range(context.size(5, 2))]
    helped = sorted([await _help() for _ in range(context.size(11, 3))])
    ready, finished = (statistics.median(values) for values in zip(*started, strict=True))
    return [
        context.promised("up.demo", finished, note=f"all services ready after {ready:.2f} s"),
        context.promised("up.help", statistics.median(helped), note=f"{len(helped)} times"),
    ]


async def _up(folder: Path) -> tuple[float, float]:
    """Seconds until all services are ready, and until a run of three nodes has finished."""
    start = monotonic()
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        *("up", "--data", str(folder / "data"), "--load", "bench.work", "--http-port", "0"),
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_LONGEST):
            assert process.stdout is not None
            await process.stdout.readline()
            ready = monotonic() - start
            where = json.loads((folder / "data" / "up.json").read_text("utf-8"))
            async with Client(where["nats_url"]) as client:
                result = await client.result(await client.start(chain(3)))
            finished = monotonic() - start
    finally:
        process.terminate()
        await process.wait()
    if result.status != "completed":
        raise RuntimeError(f"run {result.run_id} is {result.status}: {result.error}")
    return ready, finished


async def _help() -> float:
    """Milliseconds of a whole process."""
    start = monotonic()
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, "--help", stdout=asyncio.subprocess.DEVNULL
    )
    if code := await process.wait():
        raise RuntimeError(f"--help ended with {code}")
    return (monotonic() - start) * 1000
