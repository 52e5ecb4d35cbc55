"""The workload: whether the workers can take what one more run asks of them.

Runs are begun as fast as their work is taken, so that what cannot be worked on yet waits at the door, where callers take
turns, and not in the queue of hints, which is first come first served. A queue that nobody takes from is no reason to
wait: a run that waits for a worker says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client
from nats.js.errors import APIError

from partsong.runtime import clock

__all__ = ["Reading", "Workload", "readings"]

_MOST = 256
"""Hints that may wait for a worker: several times what one worker does at once, so that none is ever idle."""
_STILL = 2.0
"""Seconds without a hint being taken after which a queue counts as one that nobody works on."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How one queue of hints stands."""

    name: str
    waiting: int
    """Hints that no worker has taken."""
    taken: int
    """How many have been taken, ever."""


class Workload:
    """Counts how many runs may begin before the queues are looked at again."""

    def __init__(self, now: Callable[[], float] = clock.monotonic) -> None:
        self._now = now
        self._moved: dict[str, tuple[int, float]] = {}
        """By queue: how many had been taken when that was last another number, and when."""
        self.free = _MOST
        """Runs that may begin before the next reading."""

    def note(self, readings: Iterable[Reading]) -> None:
        """Take account of a reading of all queues."""
        now, longest = self._now(), 0
        for reading in readings:
            taken, since = self._moved.get(reading.name, (-1, now))
            if taken != reading.taken:
                since = now
            self._moved[reading.name] = reading.taken, since
            if now - since < _STILL:
                longest = max(longest, reading.waiting)
        self.free = max(0, _MOST - longest)


async def readings(nc: Client, stream: str, consumers: Iterable[str]) -> list[Reading]:
    """How the queues stand now; those that cannot be read are left out: then nobody waits for them."""
    found = list[Reading]()
    for name in consumers:
        try:
            info = await nc.jetstream().consumer_info(stream, name)
        except (nats.errors.Error, APIError, TimeoutError):
            continue
        delivered = info.delivered.consumer_seq if info.delivered is not None else 0
        found.append(Reading(name, info.num_pending or 0, delivered))
    return found
