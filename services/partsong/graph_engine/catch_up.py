"""Catching up: checkpoints that lie far behind the log's head are brought there in one ordered pass over the log.

Without it each partition would be read by a feed of its own, and the server would look through the whole log once for
each: at 10 GiB that is minutes during which nothing else moves. What comes before an owner is history, of which only is
noted which runs are open and what the seals say; so a pass needs no owner, and one that is broken off is gone on with.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from partsong.bus.bucket import Overtaken
from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.subjects import Subjects
from partsong.graph_engine.checkpoints import Checkpoint, Checkpoints
from partsong.graph_engine.open_runs import OpenRuns
from partsong.graph_engine.sealing import Sealing
from partsong.log.port import Record
from partsong.runtime import clock

__all__ = ["CatchUp", "WholeLog"]

_log = logging.getLogger("partsong.graph_engine")

_FAR = 20_000
"""Records of the whole log between a checkpoint and the head from which on a pass is made."""
_KEEP = 200_000
"""Records after which the checkpoints are kept, so that a pass that is broken off is not begun anew."""
_TELL = 5.0
"""Seconds between two lines about how far a pass has come."""


class WholeLog(Protocol):
    """The log with all its partitions, as its leader has it. All methods raise `Unavailable` if nobody answers."""

    async def head(self) -> int:
        """Sequence of the newest record."""
        ...

    async def newest(self, filter: str) -> int:
        """Sequence of the newest record that matches; 0 if there is none."""
        ...

    async def readable(self, seq: int) -> bool:
        """Whether a record is there and can be read."""
        ...

    def read(self, after: int, upto: int) -> AsyncGenerator[Record, None]:
        """All records that can be read between two sequences, in order, with bodies as the stream holds them."""
        ...


class CatchUp:
    """Brings checkpoints near the log's head."""

    def __init__(
        self, checkpoints: Checkpoints, subjects: Subjects, whole: WholeLog, *, far: int = _FAR
    ) -> None:
        self._checkpoints, self._subjects, self._whole, self._far = (
            checkpoints,
            subjects,
            whole,
            far,
        )

    async def behind(self, partitions: Collection[int]) -> dict[int, Checkpoint]:
        """Those that a pass is worth while for; of those without a newer record the checkpoint is moved at once.

        Raises:
            Unavailable: the server did not answer.
        """
        head = await self._whole.head()
        if head <= self._far or not partitions:
            return {}
        found = await self._checkpoints.load_all(partitions, self._whole.head)
        late = {
            p: checkpoint
            for p, checkpoint in zip(partitions, found, strict=True)
            if checkpoint.seq < head - self._far
        }
        for partition, checkpoint in list(late.items()):
            if await self._whole.newest(self._subjects.partition(partition)) <= checkpoint.seq:
                del late[partition]
                await self._move(partition, replace(checkpoint, seq=head))
        return late

    async def catch_up(
        self, behind: dict[int, Checkpoint], epoch: int, *, wanted: Callable[[int], bool]
    ) -> None:
        """Read the log once, and keep a checkpoint at its head for each of these partitions; `epoch` is the log's.

        Partitions that are no longer `wanted` are left as they are.

        Raises:
            Unavailable: the server did not answer, or did not give all; what was read until the last checkpoints is
                not read again.
        """
        head = await self._whole.head()
        seq = after = min(checkpoint.seq for checkpoint in behind.values())
        places = {p: _History(p, found, self._subjects, epoch) for p, found in behind.items()}
        told, count, gaps = clock.monotonic(), 0, 0
        async with aclosing(self._whole.read(after, head)) as records:
            async for record in records:
                self._take(places, record)
                gaps += record.seq - seq - 1
                count, seq = count + 1, record.seq
                if count % _KEEP == 0:
                    await self._keep(places, seq, wanted)
                if clock.monotonic() - told >= _TELL:
                    told = clock.monotonic()
                    _log.info("catching up with the log", extra={"at": seq, "of": head})
        if seq < head and await self._whole.readable(head):
            raise _cut_short(seq, head)
        await self._keep(places, head, wanted)
        done = {"from": after, "to": head, "records": count, "partitions": len(places)}
        _log.info("caught up with the log", extra=done)
        if gaps := gaps + head - seq:
            fix = "run `partsong log verify`"
            _log.error("records of the log are missing", extra={"missing": gaps, "fix": fix})

    def _take(self, places: dict[int, _History], record: Record) -> None:
        partition = self._subjects.partition_in(record.subject)
        place = None if partition is None else places.get(partition)
        if place is not None and record.seq > place.found.seq:
            place.take(record)

    async def _keep(
        self, places: dict[int, _History], seq: int, wanted: Callable[[int], bool]
    ) -> None:
        """Keep what was read up to here; a partition that another engine has taken meanwhile is left to it."""
        for key, place in list(places.items()):
            if not wanted(place.partition):
                del places[key]
            elif seq > place.found.seq:
                kept = await self._move(place.partition, place.checkpoint(seq))
                if kept is None:
                    del places[key]
                else:
                    place.found = kept

    async def _move(self, partition: int, now: Checkpoint) -> Checkpoint | None:
        """Keep a checkpoint; None if another engine has kept one meanwhile."""
        try:
            revision = await self._checkpoints.keep(partition, now)
        except Overtaken:
            return None
        return replace(now, revision=revision)


class _History:
    """One partition, as far as the pass has come."""

    def __init__(self, partition: int, found: Checkpoint, subjects: Subjects, epoch: int) -> None:
        self.partition, self.found = partition, found
        self._open = OpenRuns(found.open)
        self._sealing = Sealing(partition, subjects)
        self._sealing.begin(found.sealed, epoch)

    def take(self, record: Record) -> None:
        """Take the partition's next record."""
        where = self._sealing.take(record, record.body)
        if where is not None and not where.own:
            self._open.note(record, where)

    def checkpoint(self, seq: int) -> Checkpoint:
        """The checkpoint that stands at a record of the log."""
        return replace(self.found, seq=seq, open=self._open.newest, sealed=self._sealing.sealed)


def _cut_short(seq: int, head: int) -> Unavailable:
    return Unavailable(
        "log.cut_short",
        f"the log ends at {head}, and was read up to {seq} only",
        fix="it is tried again; if that does not help, run `partsong log verify`",
        retryable=True,
    )
