"""Checkpoints of partitions: how far a partition has been processed, and which of its runs have not ended.

A checkpoint is what the next owner begins with: it follows the feed from there, and looks after the runs that are open.
It is written by compare-and-set, so an owner that has been replaced finds that out; no decision depends on it. What
was kept of another log, of this one before it was restored, or beyond its end, is not believed: then the partition is
processed from its beginning.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from partsong.bus.bucket import Bucket, Entry
from partsong.graph_engine.sealing import Sealed
from partsong.log.packed import packed, unpacked

__all__ = ["Checkpoint", "Checkpoints", "Life"]

_log = logging.getLogger("partsong.graph_engine")

Life = tuple[str, int]
"""Id and epoch of a log."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A partition as somebody left it."""

    seq: int = 0
    """Every record up to here was folded, or concerns a run that is open."""
    epoch: int = 0
    """Counts the owners."""
    open: Mapping[str, int] = field(default_factory=dict)
    """Runs that have not ended, or in which something is still to be done, with the newest record of each."""
    sealed: Sealed = field(default_factory=Sealed)
    """The seals of the partition, and its root at `seq`."""
    revision: int = field(default=0, compare=False)
    """Of the bucket's entry, to be expected when it is replaced."""


class Checkpoints:
    """Keeps the newest checkpoint of each partition."""

    def __init__(self, bucket: Bucket, life: Callable[[], Life] = lambda: ("", 1)) -> None:
        """`life` says which log is processed, and in which of its epochs."""
        self._bucket, self._life = bucket, life

    async def load(self, partition: int, head: Callable[[], Awaitable[int]]) -> Checkpoint:
        """The partition's checkpoint; see `load_all`."""
        return (await self.load_all([partition], head))[0]

    async def load_all(
        self, partitions: Collection[int], head: Callable[[], Awaitable[int]]
    ) -> list[Checkpoint]:
        """A checkpoint of each partition; at its beginning, if there is none that can be read and believed.

        `head` asks for the log's: what was processed cannot lie beyond. It is asked once, after the checkpoints were
        read, for the owners of before go on keeping newer ones while the log grows.

        Raises:
            Unavailable: the bucket or the log did not answer.
        """
        entries = await asyncio.gather(*(self._bucket.get(str(p)) for p in partitions))
        end = await head() if any(entry.value is not None for entry in entries) else 0
        return [self._read(p, entry, end) for p, entry in zip(partitions, entries, strict=True)]

    def _read(self, partition: int, entry: Entry, head: int) -> Checkpoint:
        if entry.value is None:
            return Checkpoint(revision=entry.revision)
        try:
            raw = unpacked(entry.value)
            if why := self._doubt(raw, head):
                told = {"partition": partition, "at": raw["seq"], "head": head, "why": why}
                _log.warning("checkpoint not believed, partition processed anew", extra=told)
                return Checkpoint(epoch=int(raw["epoch"]), revision=entry.revision)
            sealed = Sealed.load(raw["sealed"])
            return Checkpoint(
                raw["seq"], raw["epoch"], dict(raw["open"]), sealed, revision=entry.revision
            )
        except (ValueError, KeyError, TypeError, AssertionError):
            return Checkpoint(revision=entry.revision)

    def _doubt(self, raw: Mapping[str, JsonValue], head: int) -> str:
        """Why a checkpoint is not of the log as it is; empty if it is. Those of before name no log: they had no restore."""
        log_id, epoch = self._life()
        if raw.get("log", log_id) != log_id:
            return "it is of another log"
        if raw.get("log_epoch", 1) != epoch:
            return "the log was restored since"
        return "it lies beyond the log's end" if int(str(raw["seq"])) > head else ""

    async def keep(self, partition: int, checkpoint: Checkpoint) -> int:
        """Replace the checkpoint; its new revision.

        Raises:
            Overtaken: another engine has written one meanwhile.
            Unavailable: the bucket did not answer.
        """
        log_id, epoch = self._life()
        content = {
            "seq": checkpoint.seq,
            "epoch": checkpoint.epoch,
            "open": dict(checkpoint.open),
            "sealed": checkpoint.sealed.dump(),
            "log": log_id,
            "log_epoch": epoch,
        }
        return await self._bucket.put(str(partition), packed(content), checkpoint.revision)
