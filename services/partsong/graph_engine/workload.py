"""The workload: whether the workers can take what one more run asks of them.

Runs are begun as fast as their work is taken, so that what cannot be worked on yet waits at the door, where callers take
turns, and not in the queue of hints, which is first come first served. A queue without workers is no reason to wait: a
run that waits for a worker says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client
from nats.js.errors import APIError

from partsong.runtime import clock

__all__ = ["Backlog", "Reading", "Workload", "readings"]

_MOST = 64
"""Hints that may wait for a worker: as many as one worker takes at once, so that none is ever idle."""
_STALE, _FEW = 1.0, 16
"""Seconds after which a reading says little about now, and runs that may begin on the strength of it all the same."""
_WITHIN = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """How one queue of hints stands."""

    service: str
    waiting: int
    """Hints that no worker has taken."""
    taken: int = 0
    """Hints that a worker has, or that come again later."""


class Workload:
    """Counts how many runs may begin before the queues are looked at again."""

    def __init__(
        self, worked_on: Callable[[str], bool], now: Callable[[], float] = clock.monotonic
    ) -> None:
        """`worked_on` says whether a service has workers."""
        self._worked_on, self._now = worked_on, now
        self._free, self._read = _FEW, now()

    @property
    def free(self) -> int:
        """Runs that may begin before the next reading."""
        stale = self._now() - self._read > _STALE
        return min(self._free, _FEW) if stale else self._free

    def took(self) -> None:
        """A run begins."""
        self._free = self.free - 1

    def note(self, readings: Iterable[Reading]) -> None:
        """Take account of a reading of all queues; one that could not be read holds nobody up."""
        longest = max((r.waiting for r in readings if self._worked_on(r.service)), default=0)
        self._free, self._read = max(0, _MOST - longest), self._now()


class Backlog:
    """Backlog: says how the queues of hints stand; the server is asked at most once a second."""

    def __init__(self, nc: Client, stream: str) -> None:
        self._nc, self._stream = nc, stream
        self._known: dict[str, tuple[float, Reading | None]] = {}
        self._asking = asyncio.Lock()

    async def of(self, service: str) -> Reading | None:
        """How the queue of a service stands; None if nobody knows."""
        async with self._asking:
            now = clock.monotonic()
            if service not in self._known or now - self._known[service][0] > _STALE:
                found = await readings(self._nc, self._stream, (service,))
                self._known[service] = now, next(iter(found), None)
        return self._known[service][1]


async def readings(nc: Client, stream: str, services: Sequence[str]) -> list[Reading]:
    """How the queues of services stand now; those that cannot be read in a second are left out."""

    async def one(service: str) -> Reading | None:
        try:
            async with asyncio.timeout(_WITHIN):
                info = await nc.jetstream().consumer_info(stream, service)
        except (nats.errors.Error, APIError, TimeoutError):
            return None
        return Reading(service, info.num_pending or 0, info.num_ack_pending or 0)

    found = await asyncio.gather(*map(one, services))
    return [reading for reading in found if reading is not None]
