"""The engine's ears on the log: one durable consumer per partition, pinned to one engine at a time.

A partition's consumer delivers in log order. As long as its own count goes up by one and nothing is redelivered,
nothing of the partition lies unseen before a delivery, and a run need not be read from the log to be folded on. At
any gap the runs held here are distrusted once: they read on before their next decision.

A pin is given with a delivery, and what a killed engine held unacknowledged is only delivered again after the
consumer's ack wait. So engines look for partitions that nobody is pinned to and that are owed something.

The server takes a pin away from a partition in which nothing happens for a while, and gives a new one with the next
delivery. If that delivery is the next one after our last, no other engine has heard anything in between: the partition
has not changed hands, and its runs need not be looked after.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial

import nats.errors
from nats.aio.client import Client

from partsong.bus.pull import Delivery, PullLoop
from partsong.contracts.errors import InvalidInput, PartsongError
from partsong.contracts.subjects import PARTITIONS, Subjects
from partsong.graph_engine.mail import Reported
from partsong.graph_engine.runs import Runs
from partsong.log.port import Record
from partsong.log.stored import BLOB
from partsong.runtime.streams import ENGINE_GROUP

__all__ = ["Partitions"]

_log = logging.getLogger("partsong.graph_engine")

_CREDIT = 64
"""Deliveries asked for at a time, per partition."""
_ANSWER = 2.0
"""Seconds the server has to say how a consumer stands; otherwise it is asked again with the next look."""
_AGAIN = 1.0
"""Seconds until a delivery comes again whose turn failed."""


class Partitions:
    """Pulls what workers report, and puts it into the mailboxes of the runs it concerns."""

    def __init__(
        self,
        nc: Client,
        stream: str,
        subjects: Subjects,
        runs: Runs,
        *,
        pinned: Callable[[int], None] = lambda _partition: None,
    ) -> None:
        self._nc, self._stream, self._subjects, self._runs = nc, stream, subjects, runs
        self._last: dict[int, int] = {}
        self._fresh: set[int] = set()
        """Partitions whose pin is new."""
        self._unseen = set(range(PARTITIONS))
        self._loops = [
            PullLoop(
                nc,
                stream,
                f"engine-{p}",
                self._ear(p, pinned),
                credit=_CREDIT,
                group=ENGINE_GROUP,
                on_pin=partial(self._pin, p),
            )
            for p in range(PARTITIONS)
        ]

    async def start(self) -> None:
        """Begin to pull."""
        for loop in self._loops:
            await loop.start()

    async def stop(self) -> None:
        """Stop pulling; what was delivered and not acknowledged goes to another engine."""
        for loop in self._loops:
            await loop.stop()

    async def orphans(self) -> list[int]:
        """Partitions that no engine is pinned to, though deliveries of theirs are open; at first also without."""
        asked = (self._orphaned(partition) for partition in range(PARTITIONS))
        return [p for p, orphaned in enumerate(await asyncio.gather(*asked)) if orphaned]

    async def _orphaned(self, partition: int) -> bool:
        subject = f"$JS.API.CONSUMER.INFO.{self._stream}.engine-{partition}"
        try:
            info = json.loads((await self._nc.request(subject, timeout=_ANSWER)).data)
        except (nats.errors.Error, TimeoutError):
            return False
        if "error" in info or any(
            g.get("pinned_client_id") for g in info.get("priority_groups") or ()
        ):
            return False
        orphaned = partition in self._unseen or info["num_ack_pending"] > 0
        self._unseen.discard(partition)
        return orphaned

    def _pin(self, partition: int) -> None:
        self._unseen.discard(partition)
        self._fresh.add(partition)

    def _ear(self, partition: int, pinned: Callable[[int], None]) -> Callable[[Delivery], None]:
        def hear(delivery: Delivery) -> None:
            last = self._last.get(partition)
            self._last[partition] = delivery.consumer_seq
            gapless = last is not None and delivery.consumer_seq == last + 1
            if not gapless or delivery.num_delivered > 1:
                self._runs.distrust(partition)
            if partition in self._fresh:
                self._fresh.discard(partition)
                if not gapless:
                    pinned(partition)
            self._report(delivery, next_=BLOB not in delivery.headers)

        return hear

    def _report(self, delivery: Delivery, *, next_: bool) -> None:
        try:
            where = self._subjects.parse_log(delivery.subject)
        except InvalidInput as error:
            delivery.term(str(error.problem.code))
            return

        def done(error: PartsongError | None) -> None:
            if error is None:
                delivery.ack()
            else:
                delivery.nak(_AGAIN)

        headers = delivery.headers
        record = Record(
            delivery.stream_seq,
            delivery.subject,
            delivery.data,
            headers.get("Nats-Msg-Id", ""),
            headers,
        )
        self._runs.hear(where.run_id, Reported(record, next_, done=done))
