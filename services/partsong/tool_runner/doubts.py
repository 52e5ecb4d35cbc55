"""Doubts: calls that may have been made in a time of which a restored log knows nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.events import Event, RunForked, RunStarted
from partsong.contracts.events.envelope import decode_known
from partsong.contracts.wire.headers import ASKED
from partsong.contracts.wire.marks import Restored
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import ToolWork
from partsong.log.blobs import LOST
from partsong.log.port import Log
from partsong.runtime.recent import Recent

__all__ = ["Doubts"]

_REMEMBERED = 10_000
"""Runs whose beginning is read once: many children may have one parent."""
_NEVER = "~"
"""Behind all moments."""


@dataclass(frozen=True, slots=True)
class _Beginning:
    """How a run began, which never changes."""

    seq: int
    """Of its first record; 0 if there are records and none can be read."""
    asked: str
    """When it was asked for."""
    parent: str | None
    """The run that the platform began it for."""


class Doubts:
    """Finds out whether a call may have been made before the log was restored."""

    def __init__(self, store: Log, subjects: Subjects) -> None:
        self._log, self._subjects = store, subjects
        self._epoch = 0
        self._beginnings: Recent[str, _Beginning] = Recent(_REMEMBERED)

    async def about(self, work: ToolWork, restores: Sequence[Restored]) -> str | None:
        """Say why a call may have been made already; None if it was not.

        A run that was there when the log was restored may have gone further before than the log says. So each call that
        is asked for by it since, for the first time, may have been made; whoever is asked about it once, is not asked
        again. The same holds for a run that begins since and may have begun before under the same id: the run of a
        detached subgraph, whose parent was there, or that one's parent; and one whose request was stored before the
        restore, and is delivered once more.

        Raises:
            Unavailable: the log did not answer.
        """
        if not restores:
            return None
        restored = restores[-1]
        if await self._asked(work, restored.accepted):
            return None
        there = await self._there(work.run_id, restored)
        if there is None:
            return None
        who = "this run" if there == work.run_id else f"run {there}, for which this one began,"
        return (
            f"{restored.by} restored the log from {restored.source} at {restored.at}: what {who} did behind record "
            f"{restored.kept} is not known, and this call may have been made then"
        )

    async def _asked(self, work: ToolWork, after: int) -> bool:
        """Whether an earlier attempt has ended since, as far as the call's records can be read."""
        records = self._log.read(self._subjects.call(work.run_id, work.call_id), after=after)
        return any(
            getattr(event, "attempt", work.attempt) < work.attempt
            for body in [record.body async for record in records]
            for event in _events(body)
        )

    async def _there(self, run_id: str, restored: Restored) -> str | None:
        """The run itself, or the nearest that it descends from, that may have begun before the log was restored."""
        if self._epoch != restored.epoch:
            self._beginnings.clear()
            self._epoch = restored.epoch
        at: str | None = run_id
        while at is not None:
            beginning = await self._beginning(at)
            if beginning is None:
                return None
            if beginning.seq <= restored.accepted or beginning.asked <= restored.at:
                return at
            at = beginning.parent
        return None

    async def _beginning(self, run_id: str) -> _Beginning | None:
        """How a run began; None if the log has nothing of it."""
        if (known := self._beginnings.get(run_id)) is not None:
            return known
        found = await self._read(run_id)
        if found is not None:
            self._beginnings[run_id] = found
        return found

    async def _read(self, run_id: str) -> _Beginning | None:
        first, asked = 0, _NEVER
        try:
            async with aclosing(self._log.read(self._subjects.run(run_id))) as records:
                async for record in records:
                    first = first or record.seq
                    asked = min(asked, record.headers.get(ASKED, _NEVER))
                    for event in _events(record.body):
                        if isinstance(event, RunStarted | RunForked):
                            return _Beginning(first, asked, _parent(run_id, event))
        except Unavailable as error:
            if error.problem.code not in LOST:
                raise
            return _Beginning(first, asked, None)
        return _Beginning(first, asked, None) if first else None


def _events(body: bytes) -> tuple[Event, ...]:
    """What a record says; nothing if it does not belong there: that is for others to complain of."""
    try:
        return decode_known(body).events
    except InvalidInput:
        return ()


def _parent(run_id: str, began: RunStarted | RunForked) -> str | None:
    """The run that waits for this one; a fork is waited for by nobody.

    A child's id begins with its parent's, so no line of descent goes on for ever.
    """
    parent = None if isinstance(began, RunForked) else began.options.parent
    return None if parent is None or len(parent.run_id) >= len(run_id) else parent.run_id
