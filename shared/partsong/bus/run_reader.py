"""`RunReader`: reads what a run's log says of its calls once, for all hints that ask.

A worker asks the log of every hint that comes again, late, or after it stood still itself, and those of a map of a
thousand items are all of one run. Each reading by itself what was said since it was asked for is a million records, and
the worker stands still over that, so that the next hints are late as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from partsong.log.port import Log, Record
from partsong.runtime.recent import Recent

__all__ = ["RunReader"]

T = TypeVar("T")

_RUNS = 16
"""Runs of which it is remembered what they said."""


@dataclass(slots=True)
class _Run(Generic[T]):
    """What a run said behind `after`, up to `upto`."""

    after: int
    upto: int
    said: dict[str, list[tuple[int, T]]] = field(default_factory=dict)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    begun: int = 0
    ended: int = 0
    """The last reading that was begun, and the last that came to its end."""


class RunReader(Generic[T]):
    """Remembers what the runs said that were asked about last."""

    def __init__(
        self,
        store: Log,
        subject: Callable[[str], str],
        says: Callable[[Record], Iterable[tuple[str, T]]],
    ) -> None:
        """`subject` is what is read of a run, and `says` what is to be remembered of a record, each under a name."""
        self._log, self._subject, self._says = store, subject, says
        self._runs = Recent[str, _Run[T]](_RUNS)

    async def behind(self, run_id: str, seen: int, name: str = "") -> list[T]:
        """What a run has said by now under this name, behind the record `seen`.

        Raises:
            Unavailable: the log did not answer.
        """
        run = self._runs.get(run_id)
        if run is None or seen < run.after:
            run = _Run[T](seen, seen)
        self._runs[run_id] = run
        asked = run.begun
        async with run.reading:
            if run.ended <= asked:  # no reading that was begun since has come to its end
                run.begun += 1
                await self._read_on(run_id, run)
                run.ended = run.begun
        return [said for seq, said in run.said.get(name, ()) if seq > seen]

    async def _read_on(self, run_id: str, run: _Run[T]) -> None:
        async for record in self._log.read(self._subject(run_id), after=run.upto):
            for name, said in self._says(record):
                run.said.setdefault(name, []).append((record.seq, said))
            run.upto = record.seq
