"""Ears without affinity: this engine hears all that workers report, whoever else hears it too.

For small setups and for tests: runs belong to nobody, every engine decides on every report, and the guard of a run's
commits lets one of them through. It costs a lost race per decision and engine, and never a fork.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from partsong.contracts.subjects import PARTITIONS, Subjects
from partsong.graph_engine.mail import Reported
from partsong.graph_engine.runs import Runs
from partsong.log.port import Log

__all__ = ["Overhearing"]


class Overhearing:
    """Follows the whole log from its head on."""

    def __init__(
        self, store: Log, subjects: Subjects, runs: Runs, *, adopt: Callable[[int], None]
    ) -> None:
        self._log, self._subjects, self._runs, self._adopt = store, subjects, runs, adopt
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen; runs that are open by now are looked after."""
        head = await self._log.head()
        self._task = asyncio.get_running_loop().create_task(self._listen(head), name="overhearing")
        for partition in range(PARTITIONS):
            self._adopt(partition)

    async def stop(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def orphans(self) -> list[int]:
        """None: what nobody is pinned to, everybody hears."""
        return []

    async def _listen(self, after: int) -> None:
        async with aclosing(self._log.tail(self._subjects.log(), after=after)) as records:
            async for record in records:
                where = self._subjects.parse_log(record.subject)
                if where.entity != "engine" and not where.own:
                    self._runs.hear(where.run_id, Reported(record, next=False))
