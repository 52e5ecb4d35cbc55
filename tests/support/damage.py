"""What may become of a log on its disk, done to a server that is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from partsong.log.marks import BucketMarks, FileMarks
from partsong.runtime.log_monitor import LogMonitor
from partsong.runtime.nats.server import EmbeddedNats
from partsong.runtime.streams import log_differences
from partsong.testing.nats import Bus

__all__ = ["a_monitor", "damaged", "flip", "until"]

_PATIENCE = 60.0


def flip(server: EmbeddedNats, stream: str, needle: bytes) -> None:
    """Change one bit behind some bytes of a record; the stream's block is not compressed as long as it is the newest."""
    hit = 0
    for block in server.data_dir.glob(f"**/{stream}/msgs/*.blk"):
        data = bytearray(block.read_bytes())
        at = data.find(needle)
        if at >= 0:
            data[at + len(needle) - 1] ^= 1
            block.write_bytes(data)
            hit += 1
    assert hit == 1, f"{needle!r} is in {hit} blocks of {stream}"


@asynccontextmanager
async def damaged(server: EmbeddedNats, stream: str, *needles: bytes) -> AsyncIterator[None]:
    """The server stopped cleanly, a bit flipped in each record that holds one of `needles`, and started again."""
    await server.stop()
    for needle in needles:
        flip(server, stream, needle)
    await server.start()
    yield


@asynccontextmanager
async def a_monitor(
    bus: Bus, folder: Path, *, sync_interval: float = 0.0, every: float = 5.0, started: bool = True
) -> AsyncIterator[LogMonitor]:
    """The monitor that a service on `bus` with its data in `folder` would have."""
    monitor = LogMonitor(
        bus.nc,
        bus.subjects,
        bus.names.log,
        file=FileMarks(folder / "marks.json", bus.subjects.prefix),
        bucket=BucketMarks(bus.nc, bus.names.marks, "test"),
        differences=partial(log_differences, bus.subjects),
        service="test",
        sync_interval=sync_interval,
        every=every,
    )
    try:
        if started:
            await monitor.begin()
            await monitor.start()
        yield monitor
    finally:
        await monitor.stop()


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what nothing announces, with a deadline."""
    async with asyncio.timeout(_PATIENCE):
        while not await true():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
