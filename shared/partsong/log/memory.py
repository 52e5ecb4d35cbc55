"""The log in memory: as real as the others, gone with the object."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from partsong.contracts.errors import Unavailable
from partsong.log.index import Index, follow, walk
from partsong.log.port import Appended, Record, WrongSequence
from partsong.log.subject import check_append, check_literal, compile_filter

__all__ = ["MemoryLog"]


class MemoryLog:
    """A log for tests and for runs that need not outlive their process; one event loop uses it.

    It remembers every id for ever.
    """

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._index = Index()

    async def append(
        self,
        subject: str,
        body: bytes,
        *,
        id: str,
        expect: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Appended:
        """See `Log.append`."""
        check_append(subject, id, headers)
        if (first := self._index.of_id(id)) is not None:
            return Appended(first, duplicate=True)
        if expect is not None and expect != (found := self._index.last(subject)):
            raise WrongSequence(subject, expect, found)
        seq = self._index.head + 1
        self._records.append(Record(seq, subject, bytes(body), id, dict(headers or {})))
        self._index.add(subject, id)
        return Appended(seq)

    def read(
        self, filter: str, *, after: int = 0, upto: int | None = None
    ) -> AsyncGenerator[Record, None]:
        """See `Log.read`."""
        compile_filter(filter)
        head = self._index.head
        upto = head if upto is None else min(upto, head)
        return walk(self._index, self._load, filter, after, upto)

    def tail(self, filter: str, *, after: int = 0) -> AsyncGenerator[Record, None]:
        """See `Log.tail`."""
        compile_filter(filter)
        return follow(self._index, self._load, filter, after)

    async def last(self, subject: str, *, sure: bool = False) -> Record | None:  # noqa: ARG002  # it reads what it holds
        """See `Log.last`."""
        check_literal(subject)
        seq = self._index.last(subject)
        return self._load(seq) if seq else None

    async def head(self) -> int:
        """See `Log.head`."""
        return self._index.head

    async def close(self) -> None:
        """End the tails; what is stored can still be read."""
        self._index.close(Unavailable("log.closed", "the log is closed", fix="open another one"))

    def _load(self, seq: int) -> Record:
        return self._records[seq - 1]
