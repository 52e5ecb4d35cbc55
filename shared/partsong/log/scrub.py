"""Partitions read again and compared with their seals: what finds a bit that flipped while nobody looked.

Their owner calls it: at the start from the last seal but one to the root that its checkpoint carries, then for the rest
at a slow rate. Several partitions are read in one walk through the log: one walk each would have the server read
everything once for each of them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from nats.aio.client import Client

from partsong.contracts.damage import Damaged, merged
from partsong.contracts.seals import Place, Scrub
from partsong.contracts.subjects import Subjects
from partsong.log.attribution import missing_of_partition
from partsong.log.walk import Raw, walk

__all__ = ["SLOWLY", "Target", "scrub"]

SLOWLY = 5_000_000.0
"""Bytes a second at which the rest of the partitions is read."""


@dataclass(frozen=True, slots=True)
class Target:
    """One partition: what of it is read, and what it is compared with besides its seals."""

    partition: int
    upto: int
    base: Place = field(default_factory=Place)
    """The beginning, or where a trusted seal ends."""
    known: Place | None = None
    """Where a checkpoint says the owner stood."""
    heads: Mapping[str, int] = field(default_factory=dict)
    """The newest records of the runs that were open there."""


async def scrub(
    nc: Client,
    subjects: Subjects,
    targets: Sequence[Target],
    *,
    stream: str,
    accepted: int = 0,
    rate: float | None = None,
) -> AsyncGenerator[tuple[int, Damaged], None]:
    """Read partitions; which is damaged, and how, told once more when more is found of one.

    Damage that ends at `accepted`, the last record that a restore kept, is not told again. Of damage that neither a seal
    nor the checkpoint names a run for, the server's own count is asked.

    Raises:
        Unavailable: the server did not answer in time.
    """
    if not targets:
        return
    reading = {str(target.partition): _Partition(target, subjects, accepted) for target in targets}
    one = targets[0].partition if len(targets) == 1 else None
    walked = walk(
        nc,
        stream,
        subjects.log() if one is None else subjects.partition(one),
        after=min(target.base.seq for target in targets),
        upto=max(target.upto for target in targets),
        rate=rate,
    )
    begin = len(subjects.log()) - 1
    async with aclosing(walked) as records:
        async for raw in records:
            partition = reading.get(raw.subject[begin:].partition(".")[0])
            if partition is not None and (damage := partition.take(raw)) is not None:
                yield partition.number, await _attributed(nc, subjects, stream, partition, damage)
    for partition in reading.values():
        if (damage := partition.end()) is not None:
            yield partition.number, await _attributed(nc, subjects, stream, partition, damage)


class _Partition:
    """One partition, as far as it was read."""

    def __init__(self, target: Target, subjects: Subjects, accepted: int) -> None:
        self.number, self._target, self._accepted = target.partition, target, accepted
        self._seal = subjects.seal(target.partition)
        self._at, self._found = Scrub(target.base), list[Damaged]()
        self._compared = target.known is None

    @property
    def upto(self) -> int:
        """How far it is read."""
        return self._target.upto

    def take(self, raw: Raw) -> Damaged | None:
        """Read a record of it; all that is wrong with it, if that is more than before."""
        target = self._target
        if not target.base.seq < raw.seq <= target.upto:
            return None
        before = len(self._found)
        if target.known is not None and raw.seq > target.known.seq:
            self._compare(target.known)
        self._note(self._at.take(raw.seq, raw.body, seal=raw.subject == self._seal))
        return merged(self._found) if len(self._found) > before else None

    def end(self) -> Damaged | None:
        """All of it was read; the same."""
        before, known = len(self._found), self._target.known
        if known is not None and known.seq <= self._target.upto:
            self._compare(known)
        return merged(self._found) if len(self._found) > before else None

    def _compare(self, known: Place) -> None:
        if not self._compared:
            self._compared = True
            self._note(self._at.check(known, self._target.heads))

    def _note(self, damage: Damaged | None) -> None:
        if damage is not None and (damage.lost is None or damage.lost[1] > self._accepted):
            self._found.append(damage)


async def _attributed(
    nc: Client, subjects: Subjects, stream: str, partition: _Partition, damage: Damaged
) -> Damaged:
    """The same damage with the very records that do not come, and the runs that the server counts more records of."""
    if damage.lost is None:
        return damage
    gone = await missing_of_partition(nc, subjects, stream, partition.number, upto=partition.upto)
    first, last = damage.lost
    holes = tuple((a, b) for a, b in gone.holes if a >= first and b <= last)
    runs = {*damage.runs, *(run for run in gone.by_run if run)}
    return replace(
        damage,
        lost=(holes[0][0], holes[-1][1]) if holes else damage.lost,
        holes=holes or damage.holes,
        runs=tuple(sorted(runs)),
        contained=damage.contained or sum(gone.by_run.values()) >= damage.missing > 0,
    )
