"""A partition read again and compared with its seals: what finds a bit that flipped while nobody looked.

Its owner calls it: at the start from the last seal but one to the root that its checkpoint carries, then for the rest at
a slow rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nats.aio.client import Client

from partsong.contracts.damage import Damaged
from partsong.contracts.seals import Place, Scrub
from partsong.contracts.subjects import Subjects
from partsong.log.attribution import missing_by_run
from partsong.log.walk import walk

__all__ = ["SLOWLY", "scrub"]

SLOWLY = 5_000_000.0
"""Bytes a second at which the rest of a partition is read."""


async def scrub(
    nc: Client,
    subjects: Subjects,
    partition: int,
    *,
    stream: str,
    upto: int,
    base: Place | None = None,
    known: Place | None = None,
    heads: Mapping[str, int] | None = None,
    accepted: int = 0,
    rate: float | None = None,
) -> Damaged | None:
    """Read a partition from `base` (the beginning, or where a trusted seal ends) up to `upto`; what is wrong with it.

    `known` is where a checkpoint says the owner stood, with the `heads` of the runs that were open there. Damage that
    ends at `accepted`, the last record that a restore kept, is not told again. Of damage that neither a seal nor the
    checkpoint names a run for, the server's own count is asked.

    Raises:
        Unavailable: the server did not answer in time.
    """
    at, found = Scrub(base or Place()), list[Damaged]()
    walked = walk(
        nc, stream, subjects.partition(partition), after=at.base.seq, upto=upto, rate=rate
    )
    compared = known is None
    async for raw in walked:
        if known is not None and not compared and raw.seq > known.seq:
            found += [damage] if (damage := at.check(known, heads)) else []
            compared = True
        seal = raw.subject == subjects.seal(partition)
        found += [damage] if (damage := at.take(raw.seq, raw.body, seal=seal)) else []
    if known is not None and not compared and known.seq <= upto:
        found += [damage] if (damage := at.check(known, heads)) else []
    new = [damage for damage in found if damage.lost is None or damage.lost[1] > accepted]
    if not new:
        return None
    damage = _merged(new)
    if damage.contained:
        return damage
    lost = await missing_by_run(nc, subjects, stream, subjects.partition(partition), upto=upto)
    runs = tuple(sorted(run for run in lost if run))
    whole = sum(lost.values()) >= damage.missing > 0
    return replace(damage, runs=tuple(sorted({*damage.runs, *runs})), contained=whole)


def _merged(found: list[Damaged]) -> Damaged:
    if len(found) == 1:
        return found[0]
    spans = [damage.lost for damage in found if damage.lost is not None]
    return Damaged(
        "; ".join(damage.why for damage in found),
        (min(a for a, _ in spans), max(b for _, b in spans)) if spans else None,
        tuple(hole for damage in found for hole in damage.holes),
        tuple(sorted({run for damage in found for run in damage.runs})),
        contained=all(damage.contained for damage in found),
        missing=sum(damage.missing for damage in found),
    )
