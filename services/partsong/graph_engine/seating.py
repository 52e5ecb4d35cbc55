"""Seating after a restore: whether all runs that were open in the restored log are in their threads' lines again.

The lines lie beside the log, so after a restore they may be ahead of it. Each partition's owner sees to it that the open
runs take their places anew, and notes here when they have. Until that is noted of all partitions nobody knows for
certain that a thread is free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

from partsong.bus.bucket import Bucket, Overtaken
from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.marks import Restored
from partsong.contracts.wire.subjects import PARTITIONS

__all__ = ["Seating"]

_KEY = "seated"
_TRIES = 100
"""Lost races: each loss means that another engine has noted a partition, and there are no more than so many."""


class _Seated(BaseModel):
    """Whose runs are in line again."""

    model_config = ConfigDict(frozen=True)

    life: str = ""
    partitions: frozenset[int] = frozenset()


class Seating:
    """Knows how far the open runs of a restored log have taken their places."""

    def __init__(self, bucket: Bucket, restores: Callable[[], Sequence[Restored]]) -> None:
        """The bucket is not that of the lines, so that both are not lost at once; `restores` are those of the log."""
        self._bucket, self._restores = bucket, restores
        self._known = ""

    @property
    def life(self) -> str:
        """In which of its lives the log is; empty if it was never restored: then no line can be ahead of it."""
        restores = self._restores()
        return f"{restores[-1].log_id[:16]}.{restores[-1].epoch}" if restores else ""

    async def done(self) -> bool:
        """Whether all have taken their places since the log was restored, if it was.

        Raises:
            Unavailable: the bucket did not answer.
        """
        life = self.life
        if life != self._known:
            seated, _ = await self._read(life)
            if len(seated.partitions) < PARTITIONS:
                return False
            self._known = life
        return True

    async def note(self, partition: int) -> None:
        """Note that the open runs of a partition are in line; noted again, in case it was lost, it is the same.

        Raises:
            Unavailable: the bucket did not answer.
        """
        life = self.life
        for _ in range(_TRIES if life else 0):
            seated, revision = await self._read(life)
            if partition in seated.partitions:
                return
            now = _Seated(life=life, partitions=seated.partitions | {partition})
            try:
                await self._bucket.put(_KEY, now.model_dump_json().encode(), revision)
            except Overtaken:
                continue
            return
        if life:
            raise Unavailable(
                "thread.contended", f"{_KEY!r}: lost {_TRIES} races in a row", retryable=True
            )

    async def _read(self, life: str) -> tuple[_Seated, int]:
        """What is noted of this life, and the revision to expect when it is changed."""
        entry = await self._bucket.get(_KEY)
        seated = _Seated.model_validate_json(entry.value) if entry.value else _Seated()
        return seated if seated.life == life else _Seated(life=life), entry.revision
