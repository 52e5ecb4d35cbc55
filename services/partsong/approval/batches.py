"""Records as they come, several at a time when several have come: one transaction for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from partsong.log.port import Record

__all__ = ["batches"]


async def batches(
    records: AsyncGenerator[Record, None], *, most: int
) -> AsyncGenerator[list[Record], None]:
    """Lists of 1 to `most` records in order; a record that is there never waits for one that is not.

    `records` is endless. What it raises is raised here, once the records before have been given out; it is closed when
    this generator is.
    """
    arrived: asyncio.Queue[Record | Exception] = asyncio.Queue(most)
    pump = asyncio.get_running_loop().create_task(_pump(records, arrived))
    try:
        while True:
            batch, item = list[Record](), await arrived.get()
            while isinstance(item, Record):
                batch.append(item)
                if len(batch) == most or arrived.empty():
                    break
                item = arrived.get_nowait()
            if batch:
                yield batch
            if isinstance(item, Exception):
                raise item
    finally:
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)
        await records.aclose()


async def _pump(
    records: AsyncGenerator[Record, None], arrived: asyncio.Queue[Record | Exception]
) -> None:
    try:
        async for record in records:
            await arrived.put(record)
    except Exception as error:
        await arrived.put(error)
