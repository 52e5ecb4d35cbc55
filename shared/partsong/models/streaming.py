"""Relaying: a provider's stream is read in a task of its own, behind a bounded queue.

Why a task: leaving a vendor's async generator early does not close its socket (google-genai keeps reading until the
garbage collector comes by), but cancelling the task that awaits the socket does, at once, for every SDK.
Why bounded: a reader slower than the provider holds the provider back, and fills no memory of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from partsong.contracts.talk.chunks import Chunk, End, Failed
from partsong.models.core.failure import failed
from partsong.models.core.legible import Legible

__all__ = ["relay"]

_DEPTH = 64
"""Chunks that may wait for their reader."""


async def relay(
    source: AsyncGenerator[Chunk, None],
    explain: Callable[[Exception], Failed],
    *,
    timeout: float,  # noqa: ASYNC109  # becomes a chunk, not an exception
) -> AsyncGenerator[Chunk, None]:
    """The chunks of `source`, made to end with exactly one terminal chunk.

    What `source` raises becomes the chunk that `explain` makes of it; its silent end becomes `error(truncated)`.
    """
    queue: asyncio.Queue[Chunk] = asyncio.Queue()
    room = asyncio.Semaphore(_DEPTH)
    reading = asyncio.create_task(_read(source, queue, room, explain, timeout))
    # The callback, not the task, sends the last word: so there is one even if the task is killed.
    reading.add_done_callback(lambda task: queue.put_nowait(_last_word(task)))
    begun, read = False, Legible()
    try:
        while True:
            chunks = read(await queue.get())
            room.release()
            for chunk in chunks:
                failed_now = isinstance(chunk, Failed)
                yield chunk.model_copy(update={"mid_stream": begun}) if failed_now else chunk
                begun = True
                if isinstance(chunk, End | Failed):
                    return
    finally:
        reading.cancel()
        await asyncio.wait({reading})


async def _read(
    source: AsyncGenerator[Chunk, None],
    queue: asyncio.Queue[Chunk],
    room: asyncio.Semaphore,
    explain: Callable[[Exception], Failed],
    timeout: float,  # noqa: ASYNC109  # as above
) -> End | Failed:
    try:
        async with asyncio.timeout(timeout), contextlib.aclosing(source):
            async for chunk in source:
                if isinstance(chunk, End | Failed):
                    return chunk
                await room.acquire()
                queue.put_nowait(chunk)
    except TimeoutError:
        return failed("timeout", f"the answer had not ended after {timeout:g} s")
    except Exception as error:
        return explain(error)
    return failed("truncated", "the answer stopped without its terminal marker")


def _last_word(task: asyncio.Task[End | Failed]) -> End | Failed:
    if task.cancelled():
        return failed("cancelled", "the stream was cancelled")
    error = task.exception()
    return (
        task.result()
        if error is None
        else failed("server", f"the stream's reader failed: {error!r}")
    )
