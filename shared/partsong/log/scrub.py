"""Partitions read again and compared with their seals: what finds a bit that flipped while nobody looked.

Their owner calls it: at the start from the last seal but one to the root that its checkpoint carries, then for the rest
at a slow rate. Several partitions are read in one walk through the log: one walk each would have the server read
everything once for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nats.aio.client import Client

from partsong.contracts.wire.damage import Damaged, merged
from partsong.contracts.wire.seals import Place, Scrub
from partsong.contracts.wire.subjects import Subjects
from partsong.log.attribution import Missing, missing_of
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
) -> dict[int, Damaged]:
    """Read partitions; which are damaged, and how.

    What is wrong up to `accepted`, the head of the log at its last restore, is not told again. Of damage that neither a seal
    nor the checkpoint names a run for, the server's own count is asked.

    Raises:
        Unavailable: the server did not answer in time.
    """
    if not targets:
        return {}
    reading = {target.partition: _Partition(target, subjects, accepted) for target in targets}
    one = targets[0].partition if len(targets) == 1 else None
    walked = walk(
        nc,
        stream,
        subjects.log() if one is None else subjects.partition(one),
        after=min(target.base.seq for target in targets),
        upto=max(target.upto for target in targets),
        rate=rate,
    )
    async for raw in walked:
        number = subjects.partition_in(raw.subject)
        if number is not None and number in reading:
            reading[number].take(raw)
    ends = {number: partition.end() for number, partition in reading.items()}
    damaged = {number: merged(found) for number, found in ends.items() if found}
    if not damaged:
        return {}
    gone = await missing_of(nc, subjects, stream, damaged)
    return {number: _attributed(damage, gone, number) for number, damage in damaged.items()}


class _Partition:
    """One partition, as far as it was read."""

    def __init__(self, target: Target, subjects: Subjects, accepted: int) -> None:
        self._target = target
        self._seal = subjects.seal(target.partition)
        self._at, self._found = Scrub(target.base, accepted=accepted), list[Damaged]()
        self._compared = target.known is None

    def take(self, raw: Raw) -> None:
        """Read a record of it."""
        target = self._target
        if not target.base.seq < raw.seq <= target.upto:
            return
        if target.known is not None and raw.seq > target.known.seq:
            self._compare(target.known)
        self._note(self._at.take(raw.seq, raw.body, seal=raw.subject == self._seal))

    def end(self) -> list[Damaged]:
        """All of it was read; what is wrong with it."""
        known = self._target.known
        if known is not None and known.seq <= self._target.upto:
            self._compare(known)
        return self._found

    def _compare(self, known: Place) -> None:
        if not self._compared:
            self._compared = True
            self._note(self._at.check(known, self._target.heads))

    def _note(self, damage: Damaged | None) -> None:
        if damage is not None:
            self._found.append(damage)


def _attributed(damage: Damaged, gone: Missing, partition: int) -> Damaged:
    """The same damage with the very records that do not come, and the runs that the server counts more records of."""
    by_run = gone.by_run[partition]
    return replace(
        damage.narrowed(gone.holes),
        why=f"partition {partition}: {damage.why}",
        runs=tuple(sorted({*damage.runs, *(run for run in by_run if run)})),
        contained=damage.contained or sum(by_run.values()) >= damage.missing > 0,
    )
