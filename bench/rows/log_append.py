"""One durable append, as the engine does it: 1 KB, guarded by the subject's last sequence."""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from bench.row import Context, Row
from partsong.log.file import FileLog
from partsong.log.memory import MemoryLog
from partsong.log.port import Log
from partsong.runtime.clock import monotonic

__all__ = ["measure"]

_SUBJECT = "partsong.log.0.r_bench.engine"
_BODY = b"x" * 1024

Opened = AbstractAsyncContextManager[Log]


async def measure(context: Context) -> list[Row]:
    """Median and tail of guarded appends in a row, for each adapter."""
    stores: dict[str, tuple[str, Callable[[Path], Opened]]] = {
        "memory": ("memory", _memory),
        "file": ("file, fsynced", _file),
    }
    found: list[Row] = []
    for name, (title, opened) in stores.items():
        folder = context.folder / name
        folder.mkdir()
        async with opened(folder) as log:
            took = await _appends(log, context.size(2000, 200))
        ordered = sorted(took)
        found.append(
            context.figure(
                f"log.append.{name}",
                f"guarded append of 1 KB, one after the other: {title}",
                statistics.median(ordered),
                "ms",
                note=f"p99 {ordered[int(len(ordered) * 0.99)]:.2f} ms, {len(ordered)} appends",
            )
        )
    return found


async def _appends(log: Log, count: int) -> list[float]:
    """Milliseconds of each append."""
    took: list[float] = []
    last = 0
    for index in range(count):
        start = monotonic()
        done = await log.append(_SUBJECT, _BODY, id=f"r_bench.engine.{index}", expect=last)
        took.append((monotonic() - start) * 1000)
        last = done.seq
    return took


@asynccontextmanager
async def _memory(_: Path) -> AsyncIterator[Log]:
    yield MemoryLog()


@asynccontextmanager
async def _file(folder: Path) -> AsyncIterator[Log]:
    async with await FileLog.open(folder / "log") as log:
        yield log
