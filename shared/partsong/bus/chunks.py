"""Chunks on their way out: published at once, never waited for, in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import nats.errors
from nats.aio.client import Client

from partsong.contracts.chunks import Chunk
from partsong.contracts.subjects import Subjects

__all__ = ["ChunkPublisher"]


class ChunkPublisher:
    """Publishes the chunks of calls. A lost connection loses chunks: they are seen, not remembered."""

    def __init__(self, nc: Client, subjects: Subjects) -> None:
        self._nc, self._subjects = nc, subjects
        self._sending: set[asyncio.Task[None]] = set()

    def of(self, run_id: str, node: str, call_id: str) -> Callable[[Chunk], None]:
        """Where one call's chunks go."""
        subject = self._subjects.chunk(run_id, node, call_id)

        def show(chunk: Chunk) -> None:
            body = chunk.model_dump_json(exclude_none=True).encode()
            task = asyncio.get_running_loop().create_task(self._send(subject, body))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

        return show

    async def _send(self, subject: str, body: bytes) -> None:
        with contextlib.suppress(nats.errors.Error):
            await self._nc.publish(subject, body)
