"""The feed on NATS: a durable consumer per partition with a pinned client, pulled by the engine's own loop."""

from __future__ import annotations

import json
from collections.abc import Callable

import nats.errors
from nats.aio.client import Client

from partsong.bus.pull import Delivery, PullLoop
from partsong.contracts.subjects import PARTITIONS
from partsong.graph_engine.feed import Delivered, Standing
from partsong.log.port import Record
from partsong.log.stored import BLOB
from partsong.runtime.streams import ENGINE_GROUP, feed_name

__all__ = ["NatsFeed", "nats_feeds"]

_CREDIT = 64
"""Deliveries asked for at a time, per partition."""
_ANSWER = 2.0
"""Seconds the server has to say how a consumer stands; otherwise it is asked again with the next look."""


def nats_feeds(nc: Client, stream: str) -> tuple[NatsFeed, ...]:
    """The feeds of all partitions."""
    return tuple(NatsFeed(nc, stream, partition) for partition in range(PARTITIONS))


class NatsFeed:
    """One partition's feed; see `Feed`."""

    def __init__(self, nc: Client, stream: str, partition: int) -> None:
        self._nc, self._stream = nc, stream
        self.partition = partition
        self._durable = feed_name(partition)
        self._loop: PullLoop | None = None

    async def start(self, receive: Callable[[Delivered], None], pinned: Callable[[], None]) -> None:
        """See `Feed.start`."""
        self._loop = PullLoop(
            self._nc,
            self._stream,
            self._durable,
            lambda delivery: receive(_delivered(delivery)),
            credit=_CREDIT,
            group=ENGINE_GROUP,
            on_pin=pinned,
        )
        await self._loop.start()

    async def stop(self) -> None:
        """See `Feed.stop`."""
        if self._loop is not None:
            await self._loop.stop()

    async def standing(self) -> Standing | None:
        """See `Feed.standing`."""
        subject = f"$JS.API.CONSUMER.INFO.{self._stream}.{self._durable}"
        try:
            info = json.loads((await self._nc.request(subject, timeout=_ANSWER)).data)
        except (nats.errors.Error, TimeoutError):
            return None
        if "error" in info:
            return None
        groups = info.get("priority_groups") or ()
        pinned = any(group.get("pinned_client_id") for group in groups)
        return Standing(pinned, info["num_ack_pending"])


def _delivered(delivery: Delivery) -> Delivered:
    headers = delivery.headers
    record = Record(
        delivery.stream_seq,
        delivery.subject,
        delivery.data,
        headers.get("Nats-Msg-Id", ""),
        headers,
    )
    return Delivered(
        record,
        delivery.consumer_seq,
        delivery.num_delivered > 1,
        BLOB in headers,
        delivery.ack,
        delivery.nak,
    )
