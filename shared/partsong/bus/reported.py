"""`Reported`: which attempts of a run's calls have a result in the log, read once for all hints that come again.

A worker that stood still, or lost its connection, asks it of every hint that comes out of the connection afterwards, and
those of a map of a thousand items are all of one run: each reading for itself what the others have said meanwhile is a
million records, and keeps the worker standing still.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from partsong.contracts import events as e
from partsong.contracts.subjects import Subjects
from partsong.log.port import Log
from partsong.log.reading import Unreadable, message_of
from partsong.runtime.recent import Recent

__all__ = ["Reported"]

_RUNS = 16
"""Runs whose results are remembered."""
_RESULTS = e.CallCompleted | e.CallFailed | e.CallSuspended | e.HookDecided


@dataclass(slots=True)
class _Run:
    """What is known of a run: all results behind `after`, up to `upto`."""

    after: int
    upto: int
    results: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Of each call, where its results stand and of which attempt they are."""
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    begun: int = 0
    ended: int = 0
    """The last reading that was begun, and the last that came to its end."""


class Reported:
    """Knows the results of the runs that were asked about last."""

    def __init__(self, store: Log, subjects: Subjects) -> None:
        self._log, self._subjects = store, subjects
        self._runs = Recent[str, _Run](_RUNS)

    async def holds(self, run_id: str, call_id: str, attempt: int, after: int) -> bool:
        """Whether the log has the result of this attempt, or of a later one, behind `after`.

        Raises:
            Unavailable: the log did not answer.
        """
        run = self._runs.get(run_id)
        if run is None or after < run.after:
            run = _Run(after, after)
        self._runs[run_id] = run
        asked = run.begun
        async with run.reading:
            if run.ended <= asked:  # none has begun since that came to its end
                run.begun += 1
                await self._read_on(run_id, run)
                run.ended = run.begun
        return any(seq > after and of >= attempt for seq, of in run.results.get(call_id, ()))

    async def _read_on(self, run_id: str, run: _Run) -> None:
        async for record in self._log.read(self._subjects.fact(run_id), after=run.upto):
            run.upto = record.seq
            message = message_of(self._subjects, record)
            if isinstance(message, Unreadable):
                continue  # its engine sets the run aside
            for event in message.events:
                if isinstance(event, _RESULTS):
                    run.results.setdefault(event.call_id, []).append((record.seq, event.attempt))
