"""The feed: what one partition of the log holds, delivered in log order to the engine that is pinned to it.

Two adapters: `NatsFeed`, and the simulated broker of `tests/sim`, which has no server, no threads and no real time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from partsong.log.port import Record

__all__ = ["Delivered", "Feed", "Standing"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """One record of a partition, and the ways to answer it. The answers are sent, not confirmed."""

    record: Record
    """Its `seq` is the place in the log."""
    consumer_seq: int
    """The feed's own count: one more with every delivery, whoever it goes to."""
    redelivered: bool
    stub: bool
    """The body lies beside the stream: this record only says where."""
    ack: Callable[[], None]
    nak: Callable[[float], None]
    """Deliver it again after so many seconds."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a feed, whoever receives from it."""

    pinned: bool
    """Whether some engine has it."""
    unanswered: int
    """Deliveries that were not acknowledged yet."""


class Feed(Protocol):
    """Delivers one partition to one engine at a time; which one, the broker decides."""

    @property
    def partition(self) -> int:
        """The partition."""
        ...

    async def start(self, receive: Callable[[Delivered], None], pinned: Callable[[], None]) -> None:
        """Begin to receive. `pinned` is called before the first record that comes under a new pin.

        Neither may block.
        """
        ...

    async def stop(self) -> None:
        """Receive no more; what was delivered and not acknowledged goes to another engine, and so does the pin."""
        ...

    async def standing(self) -> Standing | None:
        """How the feed stands; None if the broker does not say."""
        ...
