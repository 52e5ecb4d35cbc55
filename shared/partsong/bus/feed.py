"""The feed of a partition: everything the log holds of it, in order, to one engine at a time.

A feed has no acknowledgements: who follows it knows how far it has come, and says where to begin. While it runs, it
delivers every record behind that place, in the order of the log, without a gap or a repetition. Which engine may follow
is settled by who starts a feed at all; the server's pin keeps two that disagree from both being served, and two that
are served nevertheless do no harm, for every commit has its guard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from partsong.log.port import Record

__all__ = ["Feed", "Receive"]

Receive = Callable[[Record], None]
"""Takes the next record; must neither block nor raise."""


class Feed(Protocol):
    """One partition of the log, followed by one engine."""

    async def taken(self) -> bool:
        """Whether another engine is served at present.

        Raises:
            Unavailable: the server did not answer.
        """
        ...

    async def start(self, after: int, receive: Receive) -> None:
        """Deliver what lies behind sequence `after`, from now on; called again, it begins anew there.

        Raises:
            Unavailable: the server did not answer.
        """
        ...

    async def stop(self) -> None:
        """Deliver nothing more, and let another engine be served at once."""
        ...
