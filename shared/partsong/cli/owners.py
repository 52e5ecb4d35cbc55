"""Engines that own partitions and are not heard: what is known of them, for `partsong bus status`.

Heartbeats are kept nowhere. What an engine leaves behind is the record by which it took each partition, and the
checkpoints that it kept while there was something to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from partsong.contracts.ranges import ranges, spans
from partsong.contracts.services import GRAPH_ENGINE
from partsong.contracts.wire.headers import TIME_STAMP
from partsong.contracts.wire.subjects import PARTITIONS

if TYPE_CHECKING:
    from partsong.client import Client

__all__ = ["Silent", "silent_owners", "told_of"]

_WITHIN = 2.0


@dataclass(frozen=True, slots=True)
class Silent:
    """An engine that is not heard, and has taken partitions that nobody has taken since."""

    worker: str
    partitions: tuple[int, ...]
    last_sign: str
    """When it took the last one, or kept a checkpoint of one."""

    @property
    def row(self) -> dict[str, object]:
        """What of it stands in a table of workers."""
        return {"worker": self.worker, "service": GRAPH_ENGINE, "last_sign": self.last_sign}


async def silent_owners(client: Client, alive: Collection[str]) -> list[Silent]:
    """The last owners of all partitions that are not among those `alive`."""
    found = await asyncio.gather(*(_owner(client, partition) for partition in range(PARTITIONS)))
    of: dict[str, dict[int, str]] = {}
    for partition, owner in enumerate(found):
        if owner is not None and owner[0] not in alive:
            of.setdefault(owner[0], {})[partition] = owner[1]
    kept = await asyncio.gather(*(_kept(client, mine) for mine in of.values()))
    known = [
        Silent(worker, tuple(mine), max(*mine.values(), checkpoint))
        for (worker, mine), checkpoint in zip(of.items(), kept, strict=True)
    ]
    return sorted(known, key=lambda one: one.worker)


def told_of(silent: Sequence[Silent], alive: Collection[str]) -> list[str]:
    """What is to be said of them, and who does their work now."""
    if not silent:
        return []
    said = [f"{one.worker}: not heard; the last sign of it is of {one.last_sign}" for one in silent]
    partitions = spans(ranges(sorted(p for one in silent for p in one.partitions)))
    if alive:
        then = (
            f"partitions {partitions} wait for an owner, and the engines that are alive take them"
        )
    else:
        then = (
            f"nobody owns partitions {partitions}: no {GRAPH_ENGINE} is alive; "
            f"start one with `partsong up` or `partsong worker start {GRAPH_ENGINE}`"
        )
    return [*said, then]


async def _owner(client: Client, partition: int) -> tuple[str, str] | None:
    """Who took a partition last, and when; None if nobody did, or nobody can say."""
    from partsong.contracts.errors import PartsongError
    from partsong.contracts.events import OwnerChanged
    from partsong.contracts.events.envelope import decode_known

    try:
        newest = await client.log.last(client.subjects.owner(partition))
        events = decode_known(newest.body).events if newest is not None else ()
    except PartsongError:  # a damaged log is said elsewhere
        return None
    return next(((one.owner, one.time) for one in events if isinstance(one, OwnerChanged)), None)


async def _kept(client: Client, partitions: Collection[int]) -> str:
    """When the newest checkpoint of some partitions was kept; empty if that is not known."""
    from partsong.runtime.streams import Names

    bucket = Names.of(client.subjects).partitions
    found = await asyncio.gather(*(_time_of(client, bucket, str(key)) for key in partitions))
    return max(found, default="")


async def _time_of(client: Client, bucket: str, key: str) -> str:
    """When a key of a bucket was set; empty if it was not, or nobody answers."""
    import nats.errors

    from partsong.runtime import clock

    get = f"$JS.API.DIRECT.GET.KV_{bucket}.$KV.{bucket}.{key}"
    try:
        found = await client.nats.request(get, timeout=_WITHIN)
    except (nats.errors.Error, TimeoutError):
        return ""
    set_at = (found.headers or {}).get(TIME_STAMP)
    return clock.to_text(datetime.fromisoformat(set_at)) if set_at else ""
