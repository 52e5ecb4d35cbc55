"""Chunks on their way out: published at once, never waited for, in order."""

from __future__ import annotations

from collections.abc import Callable

from nats.aio.client import Client

from partsong.bus.post import Post
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.wire.subjects import Subjects

__all__ = ["ChunkPublisher"]


class ChunkPublisher:
    """Publishes the chunks of calls. A lost connection loses chunks: they are seen, not remembered."""

    def __init__(self, nc: Client, subjects: Subjects) -> None:
        self._post, self._subjects = Post(nc), subjects

    def of(self, run_id: str, node: str, call_id: str) -> Callable[[Chunk], None]:
        """Where one call's chunks go."""
        subject = self._subjects.chunk(run_id, node, call_id)

        def show(chunk: Chunk) -> None:
            self._post.send(subject, chunk.model_dump_json(exclude_none=True).encode())

        return show
