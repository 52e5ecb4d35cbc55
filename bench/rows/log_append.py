"""Appending to the log as the engine does: 1 KB, guarded by the last sequence of the run's own subject."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.row import Context, Row
from partsong.contracts.wire.subjects import Subjects
from partsong.log.file import FileLog
from partsong.log.jetstream import JetStreamLog
from partsong.log.memory import MemoryLog
from partsong.log.port import Log
from partsong.runtime.clock import monotonic
from partsong.runtime.connect import connect
from partsong.runtime.nats.server import start_embedded
from partsong.runtime.stream_table import Names
from partsong.runtime.streams import provision

__all__ = ["measure"]

_BODY = b"x" * 1024
_RUNS = 100


@dataclass(frozen=True, slots=True)
class _Store:
    name: str
    title: str
    opened: Callable[[Path], AbstractAsyncContextManager[Log]]


async def measure(context: Context) -> list[Row]:
    """One run's appends in a row, then those of 100 runs at once, for each adapter."""
    found: list[Row] = []
    for store in _STORES:
        folder = context.folder / store.name
        folder.mkdir()
        async with store.opened(folder) as log:
            await _append(log, "r_warm", context.size(200, 20))
            found.append(await _in_a_row(context, store, log))
            found.append(await _at_once(context, store, log))
    return found


async def _in_a_row(context: Context, store: _Store, log: Log) -> Row:
    took = sorted(await _append(log, "r_row", context.size(2000, 200)))
    return context.figure(
        f"log.append.{store.name}",
        f"guarded append of 1 KB, one after the other: {store.title}",
        statistics.median(took),
        "ms",
        note=f"p99 {took[int(len(took) * 0.99)]:.2f} ms, {len(took)} appends",
    )


async def _at_once(context: Context, store: _Store, log: Log) -> Row:
    each = context.size(100, 10)
    start = monotonic()
    await asyncio.gather(*(_append(log, f"r_{run}", each) for run in range(_RUNS)))
    return context.figure(
        f"log.rate.{store.name}",
        f"guarded appends of 1 KB, {_RUNS} runs at once: {store.title}",
        _RUNS * each / (monotonic() - start),
        "appends/s",
    )


async def _append(log: Log, run: str, count: int) -> list[float]:
    """Milliseconds of each append of one run."""
    took: list[float] = []
    subject = Subjects().engine(run)
    last = 0
    for index in range(count):
        start = monotonic()
        done = await log.append(subject, _BODY, id=f"{run}.engine.{index}", expect=last)
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


def _jetstream(folder: Path) -> AbstractAsyncContextManager[Log]:
    return _server(folder, fast=False)


def _jetstream_fast(folder: Path) -> AbstractAsyncContextManager[Log]:
    return _server(folder, fast=True)


@asynccontextmanager
async def _server(folder: Path, *, fast: bool) -> AsyncIterator[Log]:
    async with start_embedded(folder, fast=fast) as server:
        nc = await connect(server.url, name="bench")
        try:
            await provision(nc, Subjects())
            names = Names.of(Subjects())
            log = JetStreamLog(nc, stream=names.log, blobs=names.blobs)
            yield log
            await log.close()
        finally:
            await nc.close()


_STORES = (
    _Store("memory", "memory", _memory),
    _Store("file", "file, fsynced", _file),
    _Store("jetstream", "JetStream, fsynced", _jetstream),
    _Store("jetstream_fast", "JetStream, --fast", _jetstream_fast),
)
