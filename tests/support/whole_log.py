"""The whole of any log, as a pass over it wants it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import cast

from partsong.contracts.wire.subjects import Subjects
from partsong.log.port import Log, Record

__all__ = ["WholeLogOf"]


class WholeLogOf:
    """A log of which every record can be read, but for the last few of a walk: as many as `cut`."""

    def __init__(self, log: Log, subjects: Subjects, *, cut: int = 0, bad: bool = False) -> None:
        """With `bad`, nothing that was cut off can be read."""
        self._log, self._subjects, self._cut, self._bad = log, subjects, cut, bad

    async def head(self) -> int:
        return await self._log.head()

    async def newest(self, filter: str) -> int:
        return max([record.seq async for record in self._log.read(filter)], default=0)

    async def readable(self, seq: int) -> bool:
        return not self._bad

    def read(self, after: int, upto: int) -> AsyncGenerator[Record, None]:
        filter = self._subjects.log()
        records = self._log.read(filter, after=after, upto=upto - self._cut)
        return cast("AsyncGenerator[Record, None]", _Records(records))


class _Records:
    """All records of a reading. No generator: one that a simulated process was killed in cannot be closed."""

    def __init__(self, records: AsyncGenerator[Record, None]) -> None:
        self._records, self._found = records, list[Record]()
        self._read = False

    def __aiter__(self) -> _Records:
        return self

    async def __anext__(self) -> Record:
        if not self._read:
            self._found = [record async for record in self._records][::-1]
            self._read = True
        if not self._found:
            raise StopAsyncIteration
        return self._found.pop()

    async def aclose(self) -> None:
        """Nothing is held."""
