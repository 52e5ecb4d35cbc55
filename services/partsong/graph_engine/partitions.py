"""The engine's ears on the log: one feed per partition, pinned to one engine at a time.

A feed delivers everything of a partition in log order, the engines' own commits too. As long as its count goes up by
one, nothing is redelivered and the pin is the same, nothing of the partition lies unseen before a delivery, and a run
need not be read from the log to be folded on. At any gap the runs held here are distrusted once: they read on before
their next decision.

A pin is given with a delivery, and what a killed engine held unacknowledged is only delivered again after the
consumer's ack wait. So engines look for partitions that nobody is pinned to and that are owed something.

The server takes a pin away from a partition in which nothing happens for a while, and gives a new one with the next
delivery. If that delivery is the next one after our last, no other engine has heard anything in between: the partition
has not changed hands, and its runs need not be looked after.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from partsong.contracts.errors import InvalidInput, PartsongError
from partsong.contracts.subjects import Subjects
from partsong.graph_engine.feed import Delivered, Feed
from partsong.graph_engine.mail import Reported
from partsong.graph_engine.runs import Runs

__all__ = ["Partitions"]

_log = logging.getLogger("partsong.graph_engine")

_AGAIN = 1.0
"""Seconds until a delivery comes again whose turn failed."""


class Partitions:
    """Receives what the feeds deliver, and puts it into the mailboxes of the runs it concerns."""

    def __init__(
        self,
        feeds: Sequence[Feed],
        subjects: Subjects,
        runs: Runs,
        *,
        pinned: Callable[[int], None] = lambda _partition: None,
    ) -> None:
        """`pinned` is told the partitions that come here from another engine."""
        self._feeds, self._subjects, self._runs = feeds, subjects, runs
        self._pinned = pinned
        self._last: dict[int, int] = {}
        self._fresh: set[int] = set()
        """Partitions whose pin is new."""
        self._unseen = {feed.partition for feed in feeds}

    async def start(self) -> None:
        """Begin to receive."""
        for feed in self._feeds:
            p = feed.partition
            await feed.start(partial(self._receive, p), partial(self._pin, p))

    async def stop(self) -> None:
        """Receive no more; what was delivered and not acknowledged goes to another engine."""
        for feed in self._feeds:
            await feed.stop()

    async def orphans(self) -> list[int]:
        """Partitions that no engine is pinned to, though deliveries of theirs are open; at first also without."""
        orphaned = await asyncio.gather(*(self._orphaned(feed) for feed in self._feeds))
        return [feed.partition for feed, yes in zip(self._feeds, orphaned, strict=True) if yes]

    async def _orphaned(self, feed: Feed) -> bool:
        standing = await feed.standing()
        if standing is None or standing.pinned:
            return False
        orphaned = feed.partition in self._unseen or standing.unanswered > 0
        self._unseen.discard(feed.partition)
        return orphaned

    def _pin(self, partition: int) -> None:
        self._unseen.discard(partition)
        self._fresh.add(partition)

    def _receive(self, partition: int, delivered: Delivered) -> None:
        last = self._last.get(partition)
        self._last[partition] = delivered.consumer_seq
        gapless = last is not None and delivered.consumer_seq == last + 1
        if not gapless or delivered.redelivered or partition in self._fresh:
            self._runs.distrust(partition)  # a server that was killed may count anew
        if partition in self._fresh:
            self._fresh.discard(partition)
            if not gapless:
                self._pinned(partition)
        self._report(delivered)

    def _report(self, delivered: Delivered) -> None:
        try:
            where = self._subjects.parse_log(delivered.record.subject)
        except InvalidInput as error:
            _log.warning("passed over", extra={"problem": error.problem.code})
            delivered.ack()
            return

        def done(error: PartsongError | None) -> None:
            if error is None:
                delivered.ack()
            else:
                delivered.nak(_AGAIN)

        self._runs.hear(
            where.run_id, Reported(delivered.record, next=not delivered.stub, done=done)
        )
