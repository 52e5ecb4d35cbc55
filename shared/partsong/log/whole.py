"""The whole log, as its leader has it: for whoever reads it once from one end to the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from nats.aio.client import Client

from partsong.contracts.wire.subjects import Subjects
from partsong.log.leader import Leader
from partsong.log.port import Record
from partsong.log.walk import walk

__all__ = ["NatsWholeLog"]


class NatsWholeLog:
    """The log's stream. All methods raise `Unavailable` if nobody answers in time."""

    def __init__(self, nc: Client, subjects: Subjects, stream: str) -> None:
        self._nc, self._subjects, self._stream = nc, subjects, stream
        self._leader = Leader(nc, subjects, stream, attempt=5.0, deadline=60.0)

    async def close(self) -> None:
        """Give back what it holds of the connection."""
        await self._leader.close()

    async def head(self) -> int:
        """Sequence of the newest record; 0 if there is no stream."""
        return await self._leader.head()

    async def newest(self, filter: str) -> int:
        """Sequence of the newest record that matches and can be read; 0 if there is none."""
        found = await self._leader.get({"last_by_subj": filter})
        return found.seq if found is not None else 0

    async def readable(self, seq: int) -> bool:
        """Whether a record is there and can be read."""
        return await self._leader.get({"seq": seq}) is not None

    async def read(self, after: int, upto: int) -> AsyncGenerator[Record, None]:
        """All records between two sequences that can be read, in order, with bodies as the stream holds them."""
        walked = walk(self._nc, self._stream, self._subjects.log(), after=after, upto=upto)
        async with aclosing(walked) as found:
            async for raw in found:
                yield Record(raw.seq, raw.subject, raw.body, raw.id, raw.headers)
