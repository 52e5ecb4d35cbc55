"""Chunks as they come, with what was said before one came to listen.

Two sources say the same: the live subject, at once but at most once, and the memory stream, a moment later but without
gaps. Chunks of an attempt are numbered, so each is given once, and what the live subject missed (a reconnect, a full
buffer) is fetched from the stream as soon as the next number shows the gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from pydantic import ValidationError

from partsong.contracts.errors import Unavailable
from partsong.contracts.talk.chunks import CHUNK, TERMINAL, Chunk
from partsong.log.port import Log

__all__ = ["chunks_of"]

_LATE = 1.0
"""Seconds for which a terminal chunk may still be on its way when the run has ended; a killed worker never sends it."""


async def chunks_of(
    nc: Nats,
    kept: Log,
    filter: str,
    ended: asyncio.Event,
    after: Mapping[tuple[str, int], int] | None = None,
) -> AsyncGenerator[Chunk, None]:
    """The chunks under `filter`, in order per call and attempt, each once, until `ended` is set and all is said.

    `kept` reads the memory stream. `after` says how far somebody has read: the number of the last chunk, by call and
    attempt. Leaving early does nothing to the run.
    """
    heard: asyncio.Queue[Msg | None] = asyncio.Queue()
    seen = _Seen(after or {})

    async def hear(msg: Msg) -> None:
        heard.put_nowait(msg)

    async def stop() -> None:
        await ended.wait()
        heard.put_nowait(None)

    sub = await nc.subscribe(filter, cb=hear, pending_msgs_limit=0, pending_bytes_limit=0)
    stopping = asyncio.get_running_loop().create_task(stop())
    try:
        async for chunk in _history(kept, filter, seen):
            yield chunk
        while (msg := await heard.get()) is not None:
            async for chunk in _fresh(kept, msg, seen):
                yield chunk
        async for chunk in _history(kept, filter, seen):
            yield chunk
        deadline = asyncio.get_running_loop().time() + _LATE
        while seen.open and (msg := await _next(heard, deadline)) is not None:
            async for chunk in _fresh(kept, msg, seen):
                yield chunk
    finally:
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        if not nc.is_closed:
            await sub.unsubscribe()


class _Seen:
    """What has been given already."""

    def __init__(self, last: Mapping[tuple[str, int], int]) -> None:
        self._last = dict(last)
        self.open: set[tuple[str, int]] = set()
        """Attempts that have begun and whose terminal chunk has not come."""

    def gap(self, chunk: Chunk) -> bool:
        """Whether others should have come before it."""
        return chunk.seq > self._last.get((chunk.call_id, chunk.attempt), -1) + 1

    def first_time(self, chunk: Chunk) -> bool:
        """Whether it has not been given yet; from now on it has."""
        attempt = (chunk.call_id, chunk.attempt)
        if chunk.seq <= self._last.get(attempt, -1):
            return False
        self._last[attempt] = chunk.seq
        if isinstance(chunk, TERMINAL):
            self.open.discard(attempt)
        else:
            self.open.add(attempt)
        return True


async def _fresh(kept: Log, msg: Msg, seen: _Seen) -> AsyncIterator[Chunk]:
    """The chunk of a live message, after those that should have come before it."""
    chunk = _chunk(msg.data)
    if chunk is None:
        return
    if seen.gap(chunk):
        async for missed in _history(kept, msg.subject, seen):
            yield missed
    if seen.first_time(chunk):
        yield chunk


async def _history(kept: Log, filter: str, seen: _Seen) -> AsyncIterator[Chunk]:
    """What the memory stream holds and has not been given; nothing if it is gone, as after a restart of the server."""
    try:
        async for record in kept.read(filter):
            chunk = _chunk(record.body)
            if chunk is not None and seen.first_time(chunk):
                yield chunk
    except Unavailable:
        return


async def _next(heard: asyncio.Queue[Msg | None], deadline: float) -> Msg | None:
    try:
        async with asyncio.timeout_at(deadline):
            return await heard.get()
    except TimeoutError:
        return None


def _chunk(data: bytes) -> Chunk | None:
    """The chunk; None if a newer Partsong sent something this one does not know."""
    try:
        return CHUNK.validate_json(data)
    except ValidationError:
        return None
