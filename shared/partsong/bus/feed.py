"""The feed of a partition: everything the log holds of it, in order.

A feed has no acknowledgements: who follows it knows how far it has come, and says where to begin. While it runs, it
delivers every record behind that place, in the order of the log, without a gap or a repetition. Each engine has feeds of
its own, so nothing that one does with its feed can hide a record from another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from partsong.log.port import Record

__all__ = ["Feed", "Receive"]

Receive = Callable[[Record, bytes], None]
"""Takes the next record, and its body as the stream holds it (of a big one the stub); must neither block nor raise."""


class Feed(Protocol):
    """One partition of the log."""

    async def start(self, after: int, receive: Receive) -> None:
        """Deliver what lies behind sequence `after`, from now on; called again, it begins anew there.

        Raises:
            Unavailable: the server did not answer, or the log ends before `after`.
        """
        ...

    async def stop(self) -> None:
        """Deliver nothing more."""
        ...
