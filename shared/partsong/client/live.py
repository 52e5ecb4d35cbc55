"""Chunks as they come, with what was said before one came to listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError
from pydantic import ValidationError

from partsong.contracts.chunks import CHUNK, Chunk
from partsong.contracts.subjects import Subjects

__all__ = ["chunks_of"]

_LATE = 0.2
"""Seconds for which chunks may still be on their way when the run has ended: they are not in its log."""


async def chunks_of(
    nc: Nats, subjects: Subjects, stream: str, run_id: str, ended: asyncio.Event
) -> AsyncGenerator[Chunk, None]:
    """The chunks of a run, in order per call and attempt, each once, until `ended` is set.

    First it listens, then it asks for what the memory stream still has, so nothing falls in between. Leaving early
    does nothing to the run.
    """
    arrived: asyncio.Queue[Chunk | None] = asyncio.Queue()
    seen: dict[tuple[str, int], int] = {}

    def take(data: bytes) -> None:
        try:
            chunk = CHUNK.validate_json(data)
        except ValidationError:
            return
        key = (chunk.call_id, chunk.attempt)
        if chunk.seq > seen.get(key, -1):
            seen[key] = chunk.seq
            arrived.put_nowait(chunk)

    waiting: list[bytes] = []
    live = False

    async def hear(msg: Msg) -> None:
        if live:
            take(msg.data)
        else:
            waiting.append(msg.data)

    async def finish() -> None:
        await ended.wait()
        await asyncio.sleep(_LATE)
        arrived.put_nowait(None)

    sub = await nc.subscribe(subjects.chunks(run_id), cb=hear)
    finishing = asyncio.get_running_loop().create_task(finish())
    try:
        for data in await _history(nc, stream, subjects.chunks(run_id)):
            take(data)
        live = True
        for data in waiting:
            take(data)
        while (chunk := await arrived.get()) is not None:
            yield chunk
    finally:
        finishing.cancel()
        await sub.unsubscribe()


async def _history(nc: Nats, stream: str, filter: str) -> list[bytes]:
    """What the stream holds now; nothing if it is gone, as after a restart of the server."""
    js = nc.jetstream()
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.NONE,
        mem_storage=True,
        inactive_threshold=10.0,
    )
    try:
        sub = await js.subscribe(filter, stream=stream, config=config)
    except APIError:
        return []
    found: list[bytes] = []
    try:
        info = await sub.consumer_info()
        left = (info.num_pending or 0) + (info.delivered.consumer_seq if info.delivered else 0)
        while len(found) < left:
            found.append((await sub.next_msg(timeout=5)).data)
        return found
    except TimeoutError:
        return found
    finally:
        await sub.unsubscribe()
