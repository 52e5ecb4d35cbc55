"""Checkpoints of partitions: how far a partition has been processed, and which of its runs have not ended.

A checkpoint is what the next owner begins with: it follows the feed from there, and looks after the runs that are open.
It is written by compare-and-set, so an owner that has been replaced finds that out; no decision depends on it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from partsong.graph_engine.bucket import Bucket
from partsong.graph_engine.sealing import Sealed

__all__ = ["Checkpoint", "Checkpoints"]


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

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def load(self, partition: int) -> Checkpoint:
        """The partition's checkpoint; at its beginning, if there is none that can be read.

        Raises:
            Unavailable: the bucket did not answer.
        """
        entry = await self._bucket.get(str(partition))
        try:
            raw = json.loads(zlib.decompress(entry.value or b""))
            sealed = Sealed.load(raw["sealed"])
            return Checkpoint(
                raw["seq"], raw["epoch"], dict(raw["open"]), sealed, revision=entry.revision
            )
        except (ValueError, KeyError, TypeError, AssertionError, zlib.error):
            return Checkpoint(revision=entry.revision)

    async def keep(self, partition: int, checkpoint: Checkpoint) -> int:
        """Replace the checkpoint; its new revision.

        Raises:
            Overtaken: another engine has written one meanwhile.
            Unavailable: the bucket did not answer.
        """
        content = {
            "seq": checkpoint.seq,
            "epoch": checkpoint.epoch,
            "open": dict(checkpoint.open),
            "sealed": checkpoint.sealed.dump(),
        }
        packed = zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 1)
        return await self._bucket.put(str(partition), packed, checkpoint.revision)
