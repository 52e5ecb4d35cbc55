"""The log of a scheduler: opened once for all runs that are under way, and readable while nobody awaits."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from partsong.contracts.ids import check_id
from partsong.contracts.wire.subjects import Subjects
from partsong.log.memory import MemoryLog
from partsong.log.place import check_place, open_log, read
from partsong.log.port import Log
from partsong.log.reading import body_of

__all__ = ["Records", "TaskLog"]

Records = list[tuple[int, bytes]]
"""Sequence and body of each record of a run."""


class TaskLog:
    """A file or Redis by its name, any log, or one in memory."""

    def __init__(self, log: str | Path | Log | None) -> None:
        self._place = log if isinstance(log, str | Path) else None
        self._log = None if isinstance(log, str | Path) else log or MemoryLog()
        if self._place is not None:
            check_place(self._place)
        self._open = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._users = 0
        self._noted: dict[str, Records] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Log]:
        """The log; one that has a name is open as long as somebody is in here."""
        if self._place is None:
            assert self._log is not None  # noqa: S101
            yield self._log
            return
        async with self._opening:
            if self._log is None:
                self._open = AsyncExitStack()
                self._log = await self._open.enter_async_context(open_log(self._place))
        log, stack = self._log, self._open
        self._users += 1
        try:
            yield log
        finally:
            self._users -= 1
            if not self._users:
                self._log = None
                await stack.aclose()

    async def records(self, log: Log, run_id: str) -> Records:
        """What the log holds of a run."""
        subject = Subjects().run(check_id("run_id", run_id))
        return [(record.seq, body_of(record)) async for record in log.read(subject)]

    async def note(self, log: Log, run_id: str) -> None:
        """Remember what the log holds of a run, if it cannot be read without waiting."""
        if self._place is None:
            self._noted[run_id] = await self.records(log, run_id)

    def past(self) -> dict[str, Records]:
        """All that is known: the whole file or Redis; of other logs, the runs that were noted."""
        if self._place is None:
            return dict(self._noted)
        runs: defaultdict[str, Records] = defaultdict(list)
        for record in read(self._place):
            runs[Subjects().parse_log(record.subject).run_id].append((record.seq, record.body))
        return dict(runs)
