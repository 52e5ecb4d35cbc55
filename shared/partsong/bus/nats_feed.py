"""The feed of a partition on JetStream: a throw-away consumer without acknowledgements, made anew wherever it was lost.

The consumer belongs to this feed alone. So its count of deliveries goes up by one with each, and anything else means
that one was missed; heartbeats name the last one, so that shows in idleness too. Then, and after a reconnect, a new
consumer begins behind the last record delivered. A consumer that nobody pulls from is removed by the server.

Not one durable consumer for all engines with a pin: who takes a partition over would reset it, and a reset starts the
count anew for whoever still pulls, which hides what lies between (docs/adr/0012).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from partsong.bus.feed import Receive
from partsong.contracts.errors import PartsongError, Unavailable
from partsong.contracts.wire.headers import LAST_CONSUMER, PENDING_MESSAGES
from partsong.log.blobs import BAD_BODY
from partsong.log.link import Link
from partsong.log.port import Record
from partsong.log.stored import from_delivery, place_of

__all__ = ["NatsFeed"]

_log = logging.getLogger("partsong.bus")

_CREDIT = 256
"""Deliveries asked for at a time."""
_EXPIRES, _HEARTBEAT = 30, 5
_SECOND = 1_000_000_000
_LOOK = 0.5
"""Seconds between two looks at the connection: what a restarted server costs at most."""
_ATTEMPT, _ANSWER = 5.0, 60.0
"""Seconds until the server is asked again, for a cluster without a leader drops a question; and in all, for a consumer
in a long log is made once the server has looked through the log."""
_AGAIN = 0.5
_IDLE = 30
"""Seconds after which the server removes a consumer that nobody pulls from."""
_EXPECTED = frozenset({"404", "408"})
"""Ends of a request that mean nothing but: ask again."""


class NatsFeed:
    """Follows a filter of the log's stream; `body_of` fetches a body that travels beside the stream."""

    def __init__(
        self, nc: Client, stream: str, filter: str, body_of: Callable[[str], Awaitable[bytes]]
    ) -> None:
        self._nc, self._stream, self._filter, self._body_of = nc, stream, filter, body_of
        self._link = Link(nc, attempt=_ATTEMPT, deadline=_ANSWER)
        self._consumer = ""
        self._receive: Receive = lambda _record, _stored: None
        self._pos = 0
        """Sequence of the last record delivered."""
        self._count = 0
        """Deliveries of this consumer."""
        self._asked = 0
        self._heard = 0.0
        self._connection = 0
        self._sub: Subscription | None = None
        self._waiting: deque[tuple[Record, str | None]] = deque()
        """Records behind one whose body is being fetched."""
        self._fetching: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._again: asyncio.Event = asyncio.Event()
        """Set when the feed must begin anew behind `_pos`."""

    async def start(self, after: int, receive: Receive) -> None:
        """See `Feed.start`."""
        await self._end()
        self._receive, self._pos = receive, after
        await self._begin()
        self._watch = asyncio.get_running_loop().create_task(
            self._keep(), name=f"feed {self._filter}"
        )

    async def stop(self) -> None:
        """See `Feed.stop`."""
        await self._end()
        await self._link.close()

    async def _end(self) -> None:
        for task in (self._watch, self._fetching):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._watch = self._fetching = None
        await self._leave()

    async def _leave(self) -> None:
        """Give the inbox and the consumer up."""
        sub, self._sub = self._sub, None
        consumer, self._consumer = self._consumer, ""
        self._waiting.clear()
        if sub is None or self._nc.is_closed:
            return
        with contextlib.suppress(nats.errors.Error, OSError):  # it goes by itself after `_IDLE`
            await sub.unsubscribe()
            await self._nc.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{consumer}")

    async def _begin(self) -> None:
        """Make a consumer that begins behind the last record delivered, and ask."""
        await self._leave()
        self._again.clear()
        self._connection = self._nc.stats["reconnects"]
        self._heard = asyncio.get_running_loop().time()
        self._count = self._asked = 0
        info = await self._api(f"STREAM.INFO.{self._stream}", {})
        head = int(info["state"]["last_seq"])
        if head < self._pos:
            raise Unavailable(
                "log.behind",
                f"the log ends at {head}, and a reader of {self._filter} has read up to {self._pos}",
                where=self._stream,
                fix="the log has lost records: run `partsong log verify`, then restore it",
            )
        inbox = self._nc.new_inbox()
        self._consumer = f"feed-{inbox.rpartition('.')[2]}"
        self._sub = await self._nc.subscribe(
            inbox,
            cb=partial(self._take, inbox),
            pending_msgs_limit=0,
            pending_bytes_limit=0,
        )
        await self._api(
            f"CONSUMER.CREATE.{self._stream}.{self._consumer}.{self._filter}",
            {"stream_name": self._stream, "config": self._config()},
        )
        await self._ask(inbox)

    def _config(self) -> dict[str, str | int | bool]:
        return {
            "name": self._consumer,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._pos + 1,
            "ack_policy": "none",
            "replay_policy": "instant",
            "filter_subject": self._filter,
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": _IDLE * _SECOND,
        }

    async def _keep(self) -> None:
        """Begin anew after a gap, a reconnect, or when not even heartbeats come."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._again.wait()
            if not self._nc.is_connected or not self._stale():
                continue
            try:
                await self._begin()
            except PartsongError as error:
                told = {"filter": self._filter, "problem": error.problem.code, "why": str(error)}
                _log.warning("feed not begun, to be tried again", extra=told)
                self._again.set()
                await asyncio.sleep(_AGAIN)

    def _stale(self) -> bool:
        silent = asyncio.get_running_loop().time() - self._heard > 2 * _HEARTBEAT
        return self._again.is_set() or silent or self._connection != self._nc.stats["reconnects"]

    async def _ask(self, inbox: str) -> None:
        batch = _CREDIT - self._asked
        self._asked += batch
        request = {
            "batch": batch,
            "expires": _EXPIRES * _SECOND,
            "idle_heartbeat": _HEARTBEAT * _SECOND,
        }
        try:
            await self._nc.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}",
                json.dumps(request).encode(),
                reply=inbox,
            )
        except nats.errors.Error:
            self._again.set()

    async def _take(self, inbox: str, msg: Msg) -> None:
        if self._sub is None or self._sub.subject != inbox or self._again.is_set():
            return  # of a consumer that was given up
        self._heard = asyncio.get_running_loop().time()
        place, headers = place_of(msg.reply), msg.headers or {}
        if place is None:
            await self._status(headers, inbox)
            return
        self._asked = max(0, self._asked - 1)
        if place.consumer_seq != self._count + 1 or place.seq <= self._pos:
            self._again.set()
            return
        self._count = place.consumer_seq
        self._hand_on(*from_delivery(msg, place.seq))
        if self._asked <= _CREDIT // 2:
            await self._ask(inbox)

    def _hand_on(self, record: Record, blob: str | None) -> None:
        if blob is None and self._fetching is None:
            self._pos = record.seq
            self._receive(record, record.body)
            return
        self._waiting.append((record, blob))
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())

    async def _fetch(self) -> None:
        """Hand on what waits, each with its body; what cannot be fetched now is begun anew later."""
        try:
            while self._waiting:
                record, blob = self._waiting[0]
                stored = record.body
                if blob is not None:
                    record = await self._whole(record, blob)
                self._waiting.popleft()
                self._pos = record.seq
                self._receive(record, stored)
        except PartsongError as error:
            told = {"filter": self._filter, "problem": error.problem.code, "why": str(error)}
            _log.warning("body not fetched, to be tried again", extra=told)
            await asyncio.sleep(_AGAIN)
            self._again.set()
        finally:
            self._fetching = None

    async def _whole(self, record: Record, blob: str) -> Record:
        """The record with its body, or with what has become of that: one run has lost it, the others go on."""
        try:
            return replace(record, body=await self._body_of(blob))
        except Unavailable as error:
            if error.problem.code not in BAD_BODY:
                raise
            return replace(record, body=b"", problem=error.problem)

    async def _status(self, headers: Mapping[str, str], inbox: str) -> None:
        """100 is a heartbeat; the others end a request."""
        status = headers.get("Status", "")
        if status == "100":
            last = headers.get(LAST_CONSUMER)
            if last is not None and int(last) != self._count:
                self._again.set()
            return
        self._asked = max(0, self._asked - int(headers.get(PENDING_MESSAGES, self._asked)))
        if status not in _EXPECTED:
            why = f"{status} {headers.get('Description', 'nobody answers')}"
            _log.warning("feed refused", extra={"filter": self._filter, "why": why})
            self._again.set()
        elif self._asked <= _CREDIT // 2:
            await self._ask(inbox)

    async def _api(self, call: str, body: Mapping[str, object]) -> dict[str, Any]:
        payload = json.dumps(body).encode() if body else b""
        ask = partial(self._link.ask, f"$JS.API.{call}", payload)
        answer: dict[str, Any] = json.loads((await self._link.insist(call, ask)).data)
        if problem := answer.get("error"):
            raise _refused(call, str(problem.get("description")))
        return answer


def _refused(call: str, why: str) -> Unavailable:
    return Unavailable(
        "feed.refused",
        f"JetStream did not carry out {call}: {why}",
        fix="check that the bus is provisioned, and that this user may read the log",
        retryable=True,
    )
