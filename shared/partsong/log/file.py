"""The log in a file of lines, for one process: survives kill -9, can be read with any tool.

One writer, in a thread of its own, writes what waits and calls fsync once for all of it, so many appends at a time cost
little more than one. Bodies stay on disk; only subjects, ids and places are kept in memory.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from partsong.contracts.errors import Conflict, Unavailable
from partsong.log.index import Index, follow, walk
from partsong.log.journal import HEADER, decode, encode, recover
from partsong.log.port import Appended, Record, WrongSequence
from partsong.log.subject import check_append, check_literal, compile_filter

__all__ = ["FileLog"]

_sync = getattr(os, "fdatasync", os.fsync)


class _Waiting(NamedTuple):
    """An append that is on its way to the disk."""

    seq: int
    subject: str
    id: str
    line: bytes
    stored: asyncio.Future[None]


class FileLog:
    """A log for one process at a time; one event loop uses it. Open it with `FileLog.open`.

    It remembers every id for ever. Without `sync` an append survives the end of the process, not a power cut.
    """

    def __init__(self, path: Path, fd: int, *, sync: bool) -> None:
        self._path, self._fd, self._sync = path, fd, sync
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="partsong-file-log")
        self._index = Index()
        self._places: list[tuple[int, int]] = []
        self._end = len(HEADER)
        self._next = 1
        self._queue: list[_Waiting] = []
        self._waiting: dict[str, _Waiting] = {}
        self._tips: dict[str, _Waiting] = {}
        self._writer: asyncio.Task[None] | None = None
        self._broken: Unavailable | None = None

    @classmethod
    async def open(cls, path: Path, *, sync: bool = True) -> Self:
        """Open the log, or start one; the directory must exist.

        Raises:
            Conflict: `log.locked`: it is open already, here or in another process.
            InvalidInput: `log.not_a_log`: the file is something else.
            Unavailable: `log.corrupt`: a line is wrong; the message names it.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        log = cls(path, fd, sync=sync)
        try:
            _lock(fd, path)
            await asyncio.get_running_loop().run_in_executor(log._thread, log._load_all)
        except BaseException:
            log._release()
            raise
        return log

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Write what waits, then give the file back. Appends and tails fail from now on."""
        self._broken = self._broken or _closed(self._path)
        if self._writer is not None:
            await self._writer
        if self._fd >= 0:
            self._release()

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
        if self._broken is not None:
            raise self._broken
        if (first := self._index.of_id(id)) is not None:
            return Appended(first, duplicate=True)
        if same := self._waiting.get(id):
            await asyncio.shield(same.stored)
            return Appended(same.seq, duplicate=True)
        if expect is not None:
            await self._guard(subject, expect)
        return Appended(await self._store(subject, bytes(body), id, dict(headers or {})))

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

    async def _guard(self, subject: str, expect: int) -> None:
        tip = self._tips.get(subject)
        found = tip.seq if tip else self._index.last(subject)
        if found == expect:
            return
        if tip:  # whoever reads on because of this error must find the record that it names
            await asyncio.shield(tip.stored)
        raise WrongSequence(subject, expect, found)

    async def _store(self, subject: str, body: bytes, id: str, headers: dict[str, str]) -> int:
        seq = self._next
        line = encode(Record(seq, subject, body, id, headers))
        self._next += 1
        waiting = _Waiting(seq, subject, id, line, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._waiting[id] = self._tips[subject] = waiting
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="partsong-file-log")
        await asyncio.shield(waiting.stored)
        return seq

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            batch, self._queue = self._queue, []
            lines = b"".join(waiting.line for waiting in batch)
            try:
                await loop.run_in_executor(self._thread, self._write, lines)
            except OSError as error:
                self._fail([*batch, *self._queue], error)
                return
            for waiting in batch:
                self._settle(waiting)

    def _write(self, lines: bytes) -> None:
        at, rest = self._end, memoryview(lines)
        while rest:
            written = os.pwrite(self._fd, rest, at)
            at, rest = at + written, rest[written:]
        if self._sync:
            _sync(self._fd)

    def _settle(self, waiting: _Waiting) -> None:
        self._place(len(waiting.line), waiting.subject, waiting.id)
        del self._waiting[waiting.id]
        if self._tips[waiting.subject] is waiting:
            del self._tips[waiting.subject]
        waiting.stored.set_result(None)

    def _place(self, length: int, subject: str, id: str) -> None:
        self._places.append((self._end, length))
        self._end += length
        self._index.add(subject, id)

    def _fail(self, lost: list[_Waiting], error: OSError) -> None:
        """The disk refused: nothing of `lost` is stored, and nothing can follow it."""
        self._broken = Unavailable(
            "log.write_failed",
            f"the log could not be written: {error}",
            where=str(self._path),
            fix="make room or repair the disk, then open the log again",
        )
        os.ftruncate(self._fd, self._end)
        self._queue.clear()
        self._waiting.clear()
        self._tips.clear()
        for waiting in lost:
            waiting.stored.set_exception(self._broken)
            waiting.stored.exception()  # its caller may be gone

    def _load(self, seq: int) -> Record:
        if self._fd < 0:
            raise _closed(self._path)
        offset, length = self._places[seq - 1]
        try:
            return decode(os.pread(self._fd, length, offset))
        except ValueError as error:
            raise Unavailable(
                "log.corrupt",
                f"line {seq + 1} changed on disk: {error}",
                where=f"{self._path}:{seq + 1}",
                fix="restore the file from a backup",
            ) from error

    def _load_all(self) -> None:
        for offset, length, record in recover(self._fd, self._path):
            self._end = offset
            self._place(length, record.subject, record.id)
            self._next = record.seq + 1
        _sync_directory(self._path.parent)

    def _release(self) -> None:
        self._thread.shutdown()
        os.close(self._fd)
        self._fd = -1
        self._index.close(_closed(self._path))


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(
            "log.locked",
            "the log is open in another process, or twice in this one",
            where=str(path),
            fix=f"close the other one (`lsof {path}` names it), or use another file",
        ) from error


def _closed(path: Path) -> Unavailable:
    return Unavailable("log.closed", "the log is closed", where=str(path), fix="open it again")


def _sync_directory(directory: Path) -> None:
    """Make the file's name survive a power cut too."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
